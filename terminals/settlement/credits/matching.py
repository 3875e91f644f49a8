"""Giving a file's entries to the batches that they name, and taking them away again. A batch's credit is always the sum of its
matched entries, worked out anew: an entry counts once, however often a chunk is tried.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import reduce
from operator import or_

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from terminals.common.errors import Refusal
from terminals.common.facts.services import record_facts
from terminals.common.sql import id_set
from terminals.common.transitions import move
from terminals.estate.models import Terminal
from terminals.estate.services import hold_alone
from terminals.settlement.accounts.services import Holding, holdings_of
from terminals.settlement.cases.differences import Found, note
from terminals.settlement.credits.accounts import numbers_of
from terminals.settlement.credits.comparing import compare
from terminals.settlement.credits.facts import BatchCredited
from terminals.settlement.credits.models import COUNTED, CreditEntry, CreditFile, CreditProfile
from terminals.settlement.credits.reading import without_numbers
from terminals.settlement.credits.rules import EntryState, EntryTransition, FileState, FileTransition
from terminals.settlement.reconciliation.rules import DifferenceKind
from terminals.settlement.transactions.services import BatchKey, columns_of

logger = logging.getLogger(__name__)
CHUNK = 1000
ATTEMPTS = 3


def match_files(until: float) -> int:
    """Go on with files that were read or are taken back, in turns; return how many entries were handled."""
    done = 0
    waiting = list(CreditFile.objects.filter(state__in=[FileState.MATCHING, FileState.WITHDRAWING]).order_by("pk"))
    while waiting and time.monotonic() < until:
        handled = {job.pk: _step_or_give_up(job) for job in waiting}
        done += sum(handled.values())
        waiting = [job for job in waiting if handled[job.pk]]
    return done


def _step_or_give_up(job: CreditFile) -> int:
    """Handle the next entries of a file; one that cannot go on stands in nobody's way, and counts for nothing."""
    for attempt in range(ATTEMPTS):
        try:
            return step(job)
        except (OperationalError, InterfaceError):  # the database is away, or a deadlock: it is tried again
            raise
        except Exception:  # of what others write at this moment it is worked out anew
            if attempt == ATTEMPTS - 1:
                logger.exception("credit file %s cannot go on", job.pk)
    if job.state == FileState.MATCHING:
        said = without_numbers(Refusal("unmatched", "it met an error that nobody foresaw; the worker's log says more"))
        move(CreditFile.objects.filter(pk=job.pk), FileTransition.give_up, **said)
    return 0


@transaction.atomic
def step(job: CreditFile) -> int:
    """Handle the next entries of a file; return how many. One worker at a time has a file, and one file a profile."""
    mine = CreditFile.objects.filter(pk=job.pk)
    held = mine.filter(state=job.state).select_for_update(skip_locked=True, of=("self",)).first()
    if held is None:
        return 0
    CreditProfile.objects.select_for_update().get(pk=job.profile_id)
    gone = job.state == FileState.WITHDRAWING
    left = Q(state=EntryState.READ) if not gone else Q(number__gt=held.withdrawn_to)
    entries = list(job.entries.filter(left).order_by("number")[:CHUNK])
    if not entries:
        move(mine, FileTransition.end_withdrawal if gone else FileTransition.finish, finished_at=timezone.now())
        return 0
    if gone:
        _take_back(job, entries)
        mine.update(withdrawn_to=entries[-1].number)
    else:
        _match(job.profile, entries)
        mine.update(handled_count=F("handled_count") + len(entries))
    return len(entries)


def match_late(until: float, limit: int = CHUNK) -> int:
    """Entries that named a terminal that nobody knew, and that is known by now, are given to their batches; return how many."""
    done, last = 0, 0
    while time.monotonic() < until:
        found = _found_late(last, limit)
        if not found:
            break
        last = max(max(ids) for ids in found.values())
        for profile_id, ids in found.items():
            with transaction.atomic():
                profile = CreditProfile.objects.select_for_update().get(pk=profile_id)
                entries = list(CreditEntry.objects.filter(pk__in=ids, state=EntryState.UNKNOWN).select_related("file"))
                done += _match(profile, entries, again=True)
    return done


def _match(profile: CreditProfile, entries: Sequence[CreditEntry], *, again: bool = False) -> int:
    """Give entries to the terminals that they name; return how many could be. In a fixed number of statements."""
    fresh = list(entries) if again else _without_repeated(profile, entries)
    owners = _terminals_of(profile, fresh)
    hold_alone(owners.values())
    matched = [entry for entry in fresh if entry.pk in owners]
    for entry in matched:
        entry.terminal_id = owners[entry.pk]
    _judge_accounts(matched)
    _write(matched)
    if not again:
        missed = [entry for entry in fresh if entry.pk not in owners]
        move(CreditEntry.objects.filter(pk__in=[entry.pk for entry in missed]), EntryTransition.miss)
        _note_unknown(profile, missed)
    else:
        _note_unknown(profile, matched)
    _follow(matched)
    record_facts((entry.terminal_id or 0, _fact(entry)) for entry in matched)
    return len(matched)


# Raw: the ORM's bulk_update takes a CASE for each row, twenty times what this takes for 1,000 of them.
MATCH = """
UPDATE settlement_creditentry e SET terminal_id = m.terminal_id, is_other_account = m.other, state = %s
  FROM unnest(%s::bigint[], %s::bigint[], %s::boolean[]) AS m(id, terminal_id, other)
 WHERE e.id = m.id AND e.state = ANY(%s)
"""


def _write(matched: Sequence[CreditEntry]) -> None:
    columns = (
        [one.pk for one in matched],
        [one.terminal_id for one in matched],
        [one.is_other_account for one in matched],
    )
    to = EntryTransition.match
    with connection.cursor() as cursor:
        cursor.execute(MATCH, [to.target.value, *columns, [state.value for state in to.sources]])


def _take_back(job: CreditFile, entries: Sequence[CreditEntry]) -> None:
    hold_alone(entry.terminal_id for entry in entries if entry.terminal_id is not None)
    counted = [entry for entry in entries if entry.state in COUNTED]
    told = {entry.identity for entry in counted if entry.identity}
    move(CreditEntry.objects.filter(pk__in=[entry.pk for entry in entries]), EntryTransition.withdraw)
    _follow([entry for entry in counted if entry.terminal_id is not None])
    _note_unknown(job.profile, [entry for entry in counted if entry.terminal_id is None])
    _revive(job, told)


def _revive(job: CreditFile, told: set[str]) -> None:
    """What another file has told as well, and did not count because this one had, is to be matched like whatever is read."""
    repeated = CreditEntry.objects.filter(profile=job.profile_id, identity__in=told, state=EntryState.REPEATED)
    standing = repeated.filter(file__state__in=FileTransition.go_on.sources).exclude(file=job).order_by("-pk")
    first = {entry.identity: entry for entry in standing}
    move(CreditEntry.objects.filter(pk__in=[entry.pk for entry in first.values()]), EntryTransition.revive)
    files = CreditFile.objects.filter(pk__in={entry.file_id for entry in first.values()})
    move(files, FileTransition.go_on, finished_at=None)


def _fact(entry: CreditEntry) -> BatchCredited:
    return BatchCredited(
        entry.batch_number,
        entry.currency,
        entry.net_minor,
        entry.fee_minor,
        entry.value_date.isoformat() if entry.value_date else "",
        entry.file_id,
    )


def _without_repeated(profile: CreditProfile, entries: Sequence[CreditEntry]) -> list[CreditEntry]:
    """Leave out what this or an earlier file has told before."""
    named = {entry.identity for entry in entries if entry.identity}
    counted = CreditEntry.objects.filter(profile=profile, identity__in=named, state__in=COUNTED)
    counted = counted.exclude(identity="")  # or the planner cannot tell that the partial index has them all
    seen = set(counted.values_list("identity", flat=True)) if named else set()
    fresh: list[CreditEntry] = []
    repeated: list[CreditEntry] = []
    for entry in entries:
        (repeated if entry.identity and entry.identity in seen else fresh).append(entry)
        seen.add(entry.identity)
    if repeated:
        move(CreditEntry.objects.filter(pk__in=[entry.pk for entry in repeated]), EntryTransition.repeat)
    return fresh


# --- whose it is -----------------------------------------------------------------------------------------------------
# Raw: the ORM has no ranks over lateral conditions. Of several terminals with one TID it is the one that has the batch, else the
# one in service; where two are left nobody knows which.
OWNERS = """
WITH candidates AS (
    SELECT e.id, t.id AS terminal_id,
           rank() OVER (PARTITION BY e.id ORDER BY EXISTS (SELECT 1 FROM settlement_batch b WHERE b.terminal_id = t.id
                            AND b.batch_number = e.batch_number) DESC, t.state <> 'retired' DESC) AS place
      FROM unnest(%(ids)s::bigint[], %(tids)s::text[], %(mids)s::text[], %(numbers)s::integer[])
           AS e(id, tid, mid, batch_number)
      JOIN terminals_terminal t ON upper(t.tid) = e.tid AND t.tid <> '' AND starts_with(t.path, %(path)s)
      JOIN terminals_store s ON s.id = t.store_id
      JOIN terminals_merchant m ON m.id = s.merchant_id
     WHERE e.mid = '' OR ltrim(e.mid, '0') = ltrim(coalesce(nullif(t.mid, ''), m.mid), '0')
)
SELECT id, min(terminal_id) FROM candidates WHERE place = 1 GROUP BY id HAVING count(*) = 1
"""


def _terminals_of(profile: CreditProfile, entries: Sequence[CreditEntry]) -> dict[int, int]:
    """Return entry -> the terminal of the profile's organisation that it names, where there is just one."""
    with connection.cursor() as cursor:
        cursor.execute(
            OWNERS,
            {
                "ids": [entry.pk for entry in entries],
                "tids": [entry.tid for entry in entries],
                "mids": [entry.mid for entry in entries],
                "numbers": [entry.batch_number for entry in entries],
                "path": profile.organisation.path if profile.organisation else "",
            },
        )
        return dict(cursor.fetchall())


# Raw: as above; entries nobody could be given before, and a terminal that has their TID by now.
LATE = """
SELECT e.profile_id, e.id FROM settlement_creditentry e
  JOIN settlement_creditprofile p ON p.id = e.profile_id
  LEFT JOIN terminals_organisation o ON o.id = p.organisation_id
 WHERE e.state = 'unknown' AND e.id > %s AND EXISTS (SELECT 1 FROM terminals_terminal t WHERE upper(t.tid) = e.tid AND t.tid <> ''
                                          AND starts_with(t.path, coalesce(o.path, '')))
 ORDER BY e.id LIMIT %s
"""


def _found_late(after: int, limit: int) -> Mapping[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(LATE, [after, limit])
        for profile_id, entry_id in cursor.fetchall():
            found[profile_id].append(entry_id)
    return found


def _judge_accounts(entries: Sequence[CreditEntry]) -> None:
    """Note which entries went to another account than their merchant's; of a merchant without one nobody can tell."""
    named = [entry for entry in entries if entry.account_id is not None]
    if not named:
        return
    numbers = numbers_of({entry.account_id or 0 for entry in named})
    terminals = Terminal.objects.filter(pk__in=id_set(entry.terminal_id or 0 for entry in named))
    merchants = dict(terminals.values_list("pk", "store__merchant"))
    on_file = holdings_of(set(merchants.values()))
    for entry in named:
        theirs = on_file.get(merchants[entry.terminal_id or 0], ())
        valid = {one.number for one in theirs if _holds(one, entry.currency, entry.value_date)}
        entry.is_other_account = bool(valid) and numbers[entry.account_id or 0] not in valid


def _holds(one: Holding, currency: str, day: date | None) -> bool:
    """Whether an account on file counted for a currency on a day."""
    return one.currency in ("", currency) and (one.until is None or day is None or day <= one.until)


# --- what follows from it --------------------------------------------------------------------------------------------
# Raw: the ORM cannot ask for pairs of columns.
CLEAR = """
DELETE FROM settlement_batchcredit c USING unnest(%s::bigint[], %s::integer[]) AS k(terminal_id, batch_number)
 WHERE (c.terminal_id, c.batch_number) = (k.terminal_id, k.batch_number)
"""
# Raw: as above.
ADD_UP = """
INSERT INTO settlement_batchcredit (terminal_id, batch_number, currency, method, scheme, net_minor, fee_minor, entry_count,
                                    fee_most_bp, value_date, other_account)
SELECT e.terminal_id, e.batch_number, e.currency, e.method, e.scheme, sum(e.net_minor), sum(e.fee_minor), count(*),
       max((f.settings->>'fee_most_bp')::integer), max(e.value_date),
       coalesce(max(a.masked) FILTER (WHERE e.is_other_account), '')
  FROM unnest(%s::bigint[], %s::integer[]) AS k(terminal_id, batch_number)
  JOIN settlement_creditentry e USING (terminal_id, batch_number)
  JOIN settlement_creditfile f ON f.id = e.file_id
  LEFT JOIN settlement_creditaccount a ON a.id = e.account_id
 WHERE e.state = 'matched'
 GROUP BY 1, 2, 3, 4, 5
"""


def _follow(entries: Iterable[CreditEntry]) -> None:
    """Add up what was credited for the batches of these entries, and hold it against what was settled."""
    keys: list[BatchKey] = sorted({(entry.terminal_id or 0, entry.batch_number) for entry in entries})
    if not keys:
        return
    with connection.cursor() as cursor:
        cursor.execute(CLEAR, columns_of(keys))
        cursor.execute(ADD_UP, columns_of(keys))
    compare(keys)


# Raw: as above.
UNKNOWN = """
SELECT e.tid, e.batch_number, e.currency, sum(e.net_minor + e.fee_minor)::bigint, count(*)
  FROM unnest(%s::text[], %s::integer[]) AS k(tid, batch_number)
  JOIN settlement_creditentry e USING (tid, batch_number)
  JOIN settlement_creditprofile p ON p.id = e.profile_id AND p.organisation_id IS NOT DISTINCT FROM %s
 WHERE e.state = 'unknown'
 GROUP BY 1, 2, 3
"""


def _note_unknown(profile: CreditProfile, entries: Sequence[CreditEntry]) -> None:
    """Let the differences about TIDs that nobody knows be what entries tell of them now."""
    named = sorted({(entry.tid, entry.batch_number) for entry in entries})
    if not named:
        return
    with connection.cursor() as cursor:
        cursor.execute(UNKNOWN, [[one[0] for one in named], [one[1] for one in named], profile.organisation_id])
        rows = cursor.fetchall()
    found = [
        Found(
            None,
            number,
            DifferenceKind.UNKNOWN_TERMINAL,
            currency,
            found_minor=amount,
            found_count=count,
            detail=tid,
            organisation_id=profile.organisation_id,
        )
        for tid, number, currency, amount, count in rows
    ]
    chosen = reduce(or_, (Q(detail=tid, batch_number=number) for tid, number in named))
    of = Q(terminal=None, case__organisation=profile.organisation_id) & chosen
    note(found, of=of, kinds=[DifferenceKind.UNKNOWN_TERMINAL])
