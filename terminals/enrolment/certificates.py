"""Terminals' certificates: issued at enrolment, renewed while they hold, revoked, and listed as revoked.

A terminal renews with a new key pair at two thirds of its certificate's life. Both keys sign and both certificates hold for a
while, so that no message is lost on the way. Once the new key is in use the earlier one renews nothing, and it is forgotten a day
later; one that is never used does no harm.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, Q, Subquery
from django.utils import timezone

from terminals.common.errors import Refusal
from terminals.common.facts.services import record_facts
from terminals.common.sql import id_set
from terminals.enrolment import authority, rules
from terminals.enrolment.facts import Renewed, Revoked
from terminals.enrolment.models import Certificate, DeviceCA
from terminals.enrolment.rules import PublicKey
from terminals.estate.models import Terminal
from terminals.estate.rules import LINKED_STATES
from terminals.estate.services import hold_alone
from terminals.link.evictions import evict
from terminals.link.models import Command
from terminals.link.outcomes import supersede_commands
from terminals.link.protocol import signing
from terminals.link.protocol.messages.enrolment import InstallCertificate, RenewCertificate
from terminals.link.services import CommandRequest, Target, create_commands

INSTALL, RENEW = "install_certificate", "renew_certificate"
VALID_FOR = timedelta(days=7)
# A terminal has no reason to renew more often, and each time costs a signature and rows that stay for years.
RENEWED_AT_MOST_EVERY = timedelta(hours=1)
# By itself a terminal renews a month before the end; one that has not by then is told, day by day.
REMIND_BEFORE, REMIND_AGAIN_AFTER = timedelta(days=25), timedelta(days=1)
REMINDED_AT_ONCE = 1000
EARLIER_KEY_LASTS = timedelta(days=1)  # since the new one was used: what was signed before is still on its way
LISTED_ANEW_AFTER = timedelta(days=1)
KEY_IN_USE = Refusal("key_in_use", "this key was certified before; a terminal makes a new key to enrol")


class Wanted(NamedTuple):
    """A terminal's wish for a certificate over a new key; `signed_by` (PEM) is the key that it signs with until it has it."""

    terminal_id: int
    csr_pem: str
    signed_by: str


def issue_first(terminal: Terminal, public_key: PublicKey) -> tuple[Certificate, str]:
    """Issue a certificate at enrolment; return it and what the terminal is given (PEM, with the CAs below the root). What it had
    before is revoked."""
    if Certificate.objects.filter(public_key_digest=rules.public_key_digest(public_key)).exists():
        raise KEY_IN_USE.again()
    now = timezone.now()
    issuer = authority.issuer()
    revoke([terminal.pk], now=now)
    certificate = _issue(issuer, terminal, public_key, now)
    try:
        with transaction.atomic():
            certificate.save()
    except IntegrityError:  # another terminal brought the same key at this moment
        raise KEY_IN_USE.again() from None
    return certificate, authority.chain(certificate.pem, issuer.row)


def _issue(issuer: authority.Issuer, terminal: Terminal, public_key: PublicKey, now: datetime) -> Certificate:
    """Return a new certificate's row, not yet saved."""
    certificate = issuer.issue(public_key, device_id=terminal.device_id, now=now)
    return Certificate(
        terminal_id=terminal.pk,
        ca=issuer.row,
        issued_at=now,
        serial_number=f"{certificate.serial_number:x}",
        public_key_digest=rules.public_key_digest(public_key),
        pem=certificate.public_bytes(Encoding.PEM).decode(),
        not_after=certificate.not_valid_after_utc,
    )


# Raw: the ORM cannot update by pairs of values.
TAKE_KEYS = """
UPDATE terminals_terminal t SET public_key_pem = r.new, earlier_key_pem = r.earlier, updated_at = %(now)s
  FROM unnest(%(ids)s::bigint[], %(new)s::text[], %(earlier)s::text[]) AS r(id, new, earlier) WHERE t.id = r.id
"""


@transaction.atomic
def renew(wanted: Sequence[Wanted], *, now: datetime) -> tuple[dict[int, str], dict[int, Refusal]]:
    """Give terminals certificates over new keys, set-based; return by terminal id what each is given (PEM), and why others get
    none. Whoever calls it holds the terminals, as the inbox does, and names each once."""
    terminals = Terminal.objects.in_bulk([one.terminal_id for one in wanted])
    current = Certificate.objects.filter(terminal__in=terminals, current=True).select_related("ca")
    present = {row.terminal_id: row for row in current}
    try:
        issuer = authority.issuer()
    except Refusal as refusal:  # each is refused and asks again later; raised here, it would hold up all other messages
        return {}, {one.terminal_id: refusal for one in wanted}
    given: dict[int, str] = {}
    refused: dict[int, Refusal] = {}
    rows: list[tuple[Certificate, str, str]] = []
    for one in wanted:
        terminal, known = terminals[one.terminal_id], present.get(one.terminal_id)
        try:
            names = {"serial": terminal.serial, "device_id": terminal.device_id}
            public_key = rules.checked_public_key(one.csr_pem, **names)
            if known and known.public_key_digest == rules.public_key_digest(public_key):
                given[terminal.pk] = authority.chain(known.pem, known.ca)  # it asks again: it lost the answer
                continue
            _check_due(_check_holding(known, terminal, one.signed_by, now), issuer, now)
            row = _issue(issuer, terminal, public_key, now)
        except Refusal as refusal:
            refused[terminal.pk] = refusal
            continue
        given[terminal.pk] = authority.chain(row.pem, issuer.row)
        rows.append((row, signing.public_pem(public_key), one.signed_by))
    refused |= _store(rows, now)
    return {pk: pem for pk, pem in given.items() if pk not in refused}, refused


def _check_holding(known: Certificate | None, terminal: Terminal, signed_by: str, now: datetime) -> Certificate:
    """Return the certificate by which a terminal renews; raise Refusal where it has none, or came with another key."""
    if known is None or known.revoked_at is not None:
        raise Refusal("revoked", "its certificate was revoked; it must enrol again")
    if known.not_after <= now:
        raise Refusal("expired", "its certificate has run out; it must enrol again")
    if signed_by not in (terminal.public_key_pem, "" if known.confirmed_at else terminal.earlier_key_pem):
        # Else whoever copied a key that was replaced could take the terminal over by it.
        raise Refusal("replaced_key", "a terminal renews by its present key, and this one was replaced")
    return known


def _check_due(known: Certificate, issuer: authority.Issuer, now: datetime) -> None:
    """Raise Refusal where there is no reason to renew: each time costs rows that stay for years, and an entry in the list of
    revoked ones. There is one from half of the life on, or when another CA issues by now."""
    if known.issued_at > now - RENEWED_AT_MOST_EVERY:
        raise Refusal("too_soon", "it was given a certificate less than an hour ago")
    half_over = known.issued_at + (known.not_after - known.issued_at) / 2 <= now
    if known.confirmed_at and known.ca_id == issuer.row.pk and not half_over:
        raise Refusal("too_soon", "not half of its certificate's life is over")


def _store(rows: list[tuple[Certificate, str, str]], now: datetime) -> dict[int, Refusal]:
    """Store new certificates and keys, in the same statements for any number; refuse those whose key somebody has already."""
    taken = set(
        Certificate.objects.filter(public_key_digest__in=[row.public_key_digest for row, _, _ in rows]).values_list(
            "public_key_digest", flat=True
        )
    )
    seen: set[str] = set(taken)
    refused, stored = dict[int, Refusal](), list[tuple[Certificate, str, str]]()
    for one in rows:
        if one[0].public_key_digest in seen:
            refused[one[0].terminal_id] = KEY_IN_USE.again()
        else:
            seen.add(one[0].public_key_digest)
            stored.append(one)
    if not stored:
        return refused
    ids = [row.terminal_id for row, _, _ in stored]
    supersede_commands(ids, [INSTALL, RENEW])
    Certificate.objects.filter(terminal__in=ids, current=True).update(current=False)
    Certificate.objects.bulk_create([row for row, _, _ in stored])
    with connection.cursor() as cursor:
        new, earlier = [new for _, new, _ in stored], [earlier for _, _, earlier in stored]
        cursor.execute(TAKE_KEYS, {"ids": ids, "new": new, "earlier": earlier, "now": now})
    record_facts((row.terminal_id, Renewed(certificate_serial=row.serial_number)) for row, _, _ in stored)
    return refused


def send(given: dict[int, str], now: datetime) -> None:
    """Send terminals their renewed certificates; what was sent within the hour is on its way, and offered again at a hello."""
    issued = Certificate.objects.filter(terminal=OuterRef("terminal"), current=True).values("issued_at")
    lately = Command.objects.filter(terminal=OuterRef("pk"), type=INSTALL, created_at__gt=now - RENEWED_AT_MOST_EVERY)
    lately = lately.filter(created_at__gte=Subquery(issued))  # one before it bore the certificate before
    unsent = Terminal.objects.filter(~Exists(lately), pk__in=given)
    targets = unsent.order_by("pk").values_list("pk", "device_id")
    supersede_commands([pk for pk, _ in targets], [INSTALL, RENEW])
    create_commands(
        [CommandRequest(Target(pk, name), INSTALL, InstallCertificate(given[pk]), VALID_FOR) for pk, name in targets],
        requested_by="certificate renewal",
    )


@transaction.atomic
def revoke(terminal_ids: Sequence[int], *, now: datetime | None = None) -> None:
    """Revoke all certificates of terminals, and end the connections that stand on them. Their keys sign nothing any more."""
    now = now or timezone.now()
    # Those that ran out, too: a connection may outlast the certificate that it was made with.
    valid = Certificate.objects.filter(terminal__in=terminal_ids, revoked_at=None)
    hit = sorted(set(valid.values_list("terminal_id", flat=True)))
    Certificate.objects.filter(terminal__in=terminal_ids, revoked_at=None).update(revoked_at=now)
    Certificate.objects.filter(terminal__in=terminal_ids, current=True).update(current=False)
    terminals = Terminal.objects.filter(pk__in=hit)
    terminals.update(public_key_pem="", earlier_key_pem="", updated_at=now)
    record_facts((pk, Revoked()) for pk in hit)
    evict(list(Terminal.objects.filter(pk__in=hit).values_list("device_id", flat=True)))


@transaction.atomic
def remind(now: datetime) -> int:
    """Tell terminals to renew whose certificates run out soon, each once a day; return how many. The cost grows with how many
    are due: a terminal in order has renewed long before."""
    due = Certificate.objects.filter(
        current=True, revoked_at=None, not_after__gt=now, not_after__lt=now + REMIND_BEFORE
    )
    due = due.filter(Q(reminded_at=None) | Q(reminded_at__lt=now - REMIND_AGAIN_AFTER)).order_by("not_after")
    ids = list(due.values_list("terminal_id", flat=True)[:REMINDED_AT_ONCE])
    hold_alone(ids)  # before what is theirs, as everybody does
    rows = list(due.filter(terminal__in=ids))
    linked = Terminal.objects.filter(pk__in=[row.terminal_id for row in rows], state__in=LINKED_STATES).order_by("pk")
    targets = [Target(*names) for names in linked.values_list("pk", "device_id")]
    supersede_commands([target.terminal_id for target in targets], [RENEW])
    create_commands(
        [CommandRequest(target, RENEW, RenewCertificate(), REMIND_AGAIN_AFTER) for target in targets],
        requested_by="certificate renewal",
    )
    Certificate.objects.filter(pk__in=[row.pk for row in rows]).update(reminded_at=now)
    return len(ids)


def confirm(terminal_ids: Iterable[int], now: datetime) -> None:
    """Note that terminals use their present keys: each signed with the key that it has now, and not an earlier one."""
    held = Certificate.objects.filter(terminal__in=id_set(terminal_ids), current=True, confirmed_at=None)
    held.update(confirmed_at=now)


@transaction.atomic
def forget_earlier_keys(now: datetime) -> int:
    """Forget keys that were replaced a day ago, or whose certificates have run out; return how many."""
    present = Certificate.objects.filter(terminal=OuterRef("pk"), current=True)
    in_use = Exists(present.filter(confirmed_at__lt=now - EARLIER_KEY_LASTS))
    holding = Certificate.objects.filter(terminal=OuterRef("pk"), current=False, revoked_at=None, not_after__gt=now)
    over = Terminal.objects.exclude(earlier_key_pem="").filter(in_use | ~Exists(holding))
    ids = list(over.values_list("pk", flat=True)[:REMINDED_AT_ONCE])
    hold_alone(ids)
    # Asked once more: one of them may have renewed meanwhile.
    return over.filter(pk__in=ids).update(earlier_key_pem="", updated_at=now)


def revocation_lists(now: datetime) -> str:
    """Return the lists of all device CAs (PEM, one after the other), as new as the last revocation. Made anew only where there
    was one, or where a list is a day old."""
    lists = []
    for ca in DeviceCA.objects.exclude(certificate_pem="").filter(not_after__gt=now).order_by("pk"):
        lists.append(ca.crl_pem if _is_fresh(ca, now) else _list_anew(ca.pk, now))
    return "".join(lists)


def _is_fresh(ca: DeviceCA, now: datetime) -> bool:
    if ca.crl_made_at is None or ca.crl_made_at < now - LISTED_ANEW_AFTER:
        return False
    return not Certificate.objects.filter(ca=ca, revoked_at__isnull=False, listed=False).exists()


@transaction.atomic
def _list_anew(pk: int, now: datetime) -> str:
    ca = DeviceCA.objects.select_for_update(no_key=True).get(pk=pk)  # certificates go on being issued meanwhile
    if _is_fresh(ca, now):  # somebody else has just done it
        return ca.crl_pem
    revoked = Certificate.objects.filter(ca=ca, revoked_at__isnull=False)
    # First, so that one that is revoked meanwhile is not taken for listed.
    revoked.filter(listed=False).update(listed=True)
    entries = revoked.filter(listed=True, not_after__gt=now).order_by("pk").values_list("serial_number", "revoked_at")
    ca.crl_number += 1
    ca.crl_pem = authority.revocation_list(ca, entries, number=ca.crl_number, now=now)
    ca.crl_made_at = now
    ca.save(update_fields=["crl_number", "crl_pem", "crl_made_at"])
    return ca.crl_pem
