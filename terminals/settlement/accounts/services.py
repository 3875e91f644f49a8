"""Accounts on file: proposed by one person, approved by another (a database constraint holds that), numbers sealed."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date
from typing import Any, ClassVar, NamedTuple

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from terminals.common import vault
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.facts.kinds import Reason
from terminals.common.money import check_currency
from terminals.common.sql import id_set
from terminals.common.transitions import move
from terminals.estate.models import Merchant, Terminal
from terminals.settlement.accounts import rules
from terminals.settlement.accounts.models import SettlementAccount
from terminals.settlement.accounts.rules import AccountState, AccountTransition

PROPOSE = "settlement.add_settlementaccount"  # what proposing an account needs
APPROVE = "settlement.approve_settlementaccount"  # what approving or rejecting one needs


@transaction.atomic
def propose(
    *, merchant: Merchant, holder: str, number: str, country: str = "", bank: str = "", currency: str = "", actor: str
) -> SettlementAccount:
    """Put an account on file; it counts when somebody else has approved it. A proposal that waits is replaced by the new one.

    Raises Refusal for a number, a BIC or a currency that cannot be right.
    """
    account = rules.checked(country=country, number=number, bank=bank)
    if currency:
        check_currency(currency)
    if not holder.strip():
        raise Refusal("bad_account", "an account has a holder, as the bank knows it")
    now = timezone.now()
    waiting = SettlementAccount.objects.filter(merchant=merchant, currency=currency)
    move(waiting, AccountTransition.reject, decided_by=actor, decided_at=now)
    one = SettlementAccount(
        merchant=merchant,
        currency=currency,
        holder=holder.strip(),
        country=account.country,
        bic=account.bic,
        masked=account.masked,
        proposed_by=actor,
        proposed_at=now,
    )
    one.sealed_number = vault.seal(account.number.encode(), bound_to=_bound_to(merchant.pk, currency))
    one.save()
    audit.record_change(actor=actor, action="settlementaccount.propose", instance=one, old={}, new=audit.values_of(one))
    return one


def _bound_to(merchant_id: int, currency: str) -> str:
    return f"account:{merchant_id}:{currency}"


def number_of(account: SettlementAccount) -> str:
    """Return an account's whole number, to hold it against a bank's file; it goes onto no page."""
    return vault.unseal(
        bytes(account.sealed_number), bound_to=_bound_to(account.merchant_id, account.currency)
    ).decode()


@transaction.atomic
def approve(*, account: SettlementAccount, actor: str) -> SettlementAccount:
    """Let a proposed account count, in the place of the present one. Raises Refusal where it was proposed by the same person, or
    somebody has decided about it before."""
    present = SettlementAccount.objects.select_for_update().get(pk=account.pk)
    if present.proposed_by == actor:
        raise Refusal("four_eyes", "whoever proposed an account does not approve it; ask somebody else")
    now = timezone.now()
    others = SettlementAccount.objects.filter(merchant=present.merchant_id, currency=present.currency)
    move(others, AccountTransition.replace)
    return _decide(present, AccountTransition.approve, actor, now)


@transaction.atomic
def reject(*, account: SettlementAccount, actor: str) -> SettlementAccount:
    """Turn a proposed account down; the present one stays. Raises Refusal where somebody has decided about it before."""
    return _decide(account, AccountTransition.reject, actor, timezone.now())


def _decide(account: SettlementAccount, transition: Any, actor: str, now: Any) -> SettlementAccount:
    chosen = SettlementAccount.objects.filter(pk=account.pk)
    if not move(chosen, transition, decided_by=actor, decided_at=now):
        raise Refusal("decided", "somebody has decided about this account before")
    account.refresh_from_db()
    detail = {"merchant": account.merchant_id, "masked": account.masked, "currency": account.currency}
    audit.record(actor=actor, action=f"settlementaccount.{transition.name}", subject=subject_of(account), detail=detail)
    return account


class Holding(NamedTuple):
    """An account that is or was on file: its whole number, its currency (empty: every one), and the last day it counted."""

    number: str
    currency: str
    until: date | None


def holdings_of(merchant_ids: Collection[int]) -> dict[int, list[Holding]]:
    """Return merchants' accounts, those that were replaced with the day on which that was; they go onto no page."""
    counted = SettlementAccount.objects.filter(
        merchant__in=merchant_ids, state__in=[AccountState.ACTIVE, AccountState.REPLACED]
    )
    until: dict[tuple[int, str], date] = {}
    found: dict[int, list[Holding]] = defaultdict(list)
    for account in counted.order_by("-decided_at"):
        of = (account.merchant_id, account.currency)
        found[account.merchant_id].append(Holding(number_of(account), account.currency, until.get(of)))
        if account.decided_at is not None:
            until[of] = account.decided_at.date()
    return found


class AccountMissing(Reason, frozen=True):
    kind: ClassVar[str] = "settlement.account_missing"

    def text(self) -> str:
        return _("no settlement account of its merchant is on file")


def without_account(terminal_ids: Sequence[int]) -> dict[int, Reason]:
    """Return the terminals to whose merchant nobody could credit money: no account is approved."""
    active = Q(store__merchant__settlement_accounts__state=AccountState.ACTIVE.value)
    covered = set(Terminal.objects.filter(active, pk__in=id_set(terminal_ids)).values_list("pk", flat=True))
    return {pk: AccountMissing() for pk in terminal_ids if pk not in covered}


@transaction.atomic
def reseal_accounts() -> int:
    """Seal all account numbers under the present master key; return how many were not."""
    old = [
        account
        for account in SettlementAccount.objects.select_for_update()
        if not bytes(account.sealed_number).startswith(vault.current_head())
    ]
    for account in old:
        bound_to = _bound_to(account.merchant_id, account.currency)
        account.sealed_number = vault.seal(
            vault.unseal(bytes(account.sealed_number), bound_to=bound_to), bound_to=bound_to
        )
    SettlementAccount.objects.bulk_update(old, ["sealed_number"], batch_size=500)
    return len(old)
