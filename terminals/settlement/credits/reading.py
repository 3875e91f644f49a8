"""Reading a credit file to its end. Until then nothing of it counts: a file that breaks in the middle leaves nothing behind.

One worker reads a file, by a lease that it renews; where it dies, another begins anew.
"""

import hashlib
import logging
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q
from django.utils import timezone

from terminals.common.errors import Refusal
from terminals.common.refusals import columns_of
from terminals.common.transitions import move
from terminals.settlement.credits import store
from terminals.settlement.credits.accounts import keep
from terminals.settlement.credits.formats import FORMATS
from terminals.settlement.credits.formats.read import Other, Read, Reject
from terminals.settlement.credits.judging import within_time
from terminals.settlement.credits.models import CreditAccount, CreditEntry, CreditFile, CreditReject
from terminals.settlement.credits.rules import Entry, FileState, FileTransition

logger = logging.getLogger(__name__)
CHUNK = 1000
MOST_ATTEMPTS = 5
MOST_ENTRIES = 1_000_000
MOST_REJECTS = 1000  # of a file with more it is the profile that does not fit
_LONG_NUMBER = re.compile(r"[A-Z]{0,2}[0-9](?:[ -]?[0-9A-Z]){8,}")
LEASE = timedelta(seconds=120)


class Overtaken(Exception):
    """Another worker has the file by now: this one's lease ran out."""


def read_next() -> bool:
    """Read the oldest file that nobody reads; return whether there was one."""
    now = timezone.now()
    free = Q(leased_until=None) | Q(leased_until__lt=now)
    job = CreditFile.objects.filter(free, state=FileState.READING).select_related("profile").order_by("pk").first()
    if job is None:
        return False
    mine = CreditFile.objects.filter(free, pk=job.pk, state=FileState.READING)
    if not mine.update(leased_until=now + LEASE, attempts=F("attempts") + 1):
        return False
    job.leased_until = now + LEASE
    try:
        if job.attempts >= MOST_ATTEMPTS:  # whoever reads it dies of it
            raise Refusal(
                "unreadable", "the file was begun %(times)s times and never read to its end", times=job.attempts
            )
        _read(job)
    except Overtaken:
        return False
    except Refusal as refusal:
        _fail(job, refusal)
    except (OperationalError, InterfaceError):  # the database is away: it is read again
        raise
    except Exception:  # a foreign parser fails on a hostile file in any way it likes
        logger.exception("credit file %s cannot be read", job.pk)
        _fail(job, Refusal("unreadable", "the file cannot be read; the worker's log says more"))
    return True


def _read(job: CreditFile) -> None:
    with transaction.atomic():
        _renew(job)
        CreditEntry.objects.filter(file=job).delete()  # what a worker that died has left
        CreditReject.objects.filter(file=job).delete()
        CreditAccount.objects.filter(file=job).delete()
    entries = others = rejects = 0
    accounts: dict[str, CreditAccount] = {}
    pieces = store.Pieces(job)
    for chunk in _chunks(_in_time(FORMATS[job.profile.format](store.opened(pieces), job.settings))):
        found = [one for one in chunk if isinstance(one, Entry)]
        refused = [one for one in chunk if isinstance(one, Reject)]
        entries, rejects = entries + len(found), rejects + len(refused)
        others += sum(isinstance(one, Other) for one in chunk)
        _check_number(entries + others, rejects)
        with transaction.atomic():
            _renew(job, entry_count=entries, other_count=others, reject_count=rejects, read_bytes=pieces.taken)
            _store(job, found, accounts)
            CreditReject.objects.bulk_create(
                CreditReject(file=job, number=one.number, **without_numbers(one.refusal)) for one in refused
            )
    if rejects and not entries:
        raise Refusal("nothing_read", "none of its entries could be read; is it a file of this profile?")
    if not entries:
        raise Refusal("no_rows", "no entry of the file names a terminal and a batch as its profile says")
    with transaction.atomic():
        _renew(job)
        move(CreditFile.objects.filter(pk=job.pk), FileTransition.match, leased_until=None)
        store.forget(job)


def _check_number(read: int, rejects: int) -> None:
    if read > MOST_ENTRIES:
        raise Refusal("too_many_rows", "a file takes %(most)s entries at most; cut it in two", most=MOST_ENTRIES)
    if rejects > MOST_REJECTS:
        raise Refusal(
            "too_many_rejects",
            "more than %(most)s entries cannot be read: it is hardly a file of this profile",
            most=MOST_REJECTS,
        )


def _in_time(read: Iterator[Read]) -> Iterator[Read]:
    today = timezone.now().date()
    for one in read:
        try:
            yield within_time(one, today) if isinstance(one, Entry) else one
        except Refusal as refusal:
            yield Reject(one.number, refusal)


def _chunks(read: Iterator[Read]) -> Iterator[list[Read]]:
    while chunk := list(islice(read, CHUNK)):
        yield chunk


def _renew(job: CreditFile, **columns: int) -> None:
    """Hold the lease for longer; raise Overtaken where another worker has taken the file."""
    until: datetime = timezone.now() + LEASE
    mine = CreditFile.objects.filter(pk=job.pk, state=FileState.READING, leased_until=job.leased_until)
    if not mine.update(leased_until=until, **columns):
        raise Overtaken
    job.leased_until = until


def _store(job: CreditFile, found: list[Entry], accounts: dict[str, CreditAccount]) -> None:
    accounts |= keep(job, sorted({one.account for one in found if one.account} - accounts.keys()))
    CreditEntry.objects.bulk_create(
        CreditEntry(
            file=job,
            profile_id=job.profile_id,
            account=accounts.get(one.account),
            identity=_identity(one),
            **{name: value for name, value in one._asdict().items() if name not in ("account", "entry_id")},
        )
        for one in found
    )


def without_numbers(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal's columns without the middle of long numbers: what a file holds may be a card's or an account's."""
    columns = columns_of(refusal)
    kept = {
        name: _LONG_NUMBER.sub("…", value) if isinstance(value, str) else "…"
        for name, value in columns["values"].items()
    }
    return columns | {"values": kept}


def _identity(one: Entry) -> str:
    """Return what tells that two files speak of one credit: the id that the bank gave it, and what it said of it."""
    if not one.entry_id:
        return ""
    said = (
        one.entry_id,
        one.tid,
        one.batch_number,
        one.currency,
        one.net_minor,
        one.value_date,
        one.method,
        one.scheme,
        one.fee_minor,
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()[:32]


@transaction.atomic
def _fail(job: CreditFile, refusal: Refusal) -> None:
    """Nothing of a file that cannot be read to its end stays, but why, and the entries that could not be read."""
    mine = CreditFile.objects.filter(pk=job.pk, leased_until=job.leased_until)
    said = {**without_numbers(refusal), "finished_at": timezone.now(), "leased_until": None, "entry_count": 0}
    if move(mine, FileTransition.fail, **said):
        CreditEntry.objects.filter(file=job).delete()
        CreditAccount.objects.filter(file=job).delete()
        store.forget(job)
