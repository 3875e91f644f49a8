"""The accounts that credit files name: kept sealed, shown without their middle."""

from collections.abc import Collection, Iterable

from terminals.common import vault
from terminals.settlement.accounts.rules import Account
from terminals.settlement.credits.models import CreditAccount, CreditFile


def bound_to(account_id: int) -> str:
    """Return what a sealed number is bound to."""
    return f"credit-account:{account_id}"


def keep(job: CreditFile, numbers: Iterable[str]) -> dict[str, CreditAccount]:
    """Put accounts that a file names on record; return them by number: two statements."""
    made = {
        number: CreditAccount(file=job, masked=Account("", number, "").masked, sealed_number=b"") for number in numbers
    }
    CreditAccount.objects.bulk_create(made.values())
    for number, account in made.items():
        account.sealed_number = vault.seal(number.encode(), bound_to=bound_to(account.pk))
    CreditAccount.objects.bulk_update(made.values(), ["sealed_number"], batch_size=500)
    return made


def numbers_of(account_ids: Collection[int]) -> dict[int, str]:
    """Return accounts' whole numbers, to hold them against those on file; they go onto no page."""
    found = CreditAccount.objects.filter(pk__in=account_ids)
    return {one.pk: vault.unseal(bytes(one.sealed_number), bound_to=bound_to(one.pk)).decode() for one in found}
