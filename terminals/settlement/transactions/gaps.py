"""Transactions that a terminal numbered but that never came: found by their numbers, and asked for again."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from terminals.common.facts.services import record_facts
from terminals.estate.rules import COMMANDED_STATES
from terminals.estate.services import hold
from terminals.link.protocol.messages.settlement import MOST_ASKED, UploadTransactions
from terminals.link.services import CommandRequest, Target, create_commands
from terminals.settlement.transactions.facts import GapFound
from terminals.settlement.transactions.models import BatchSequence
from terminals.settlement.transactions.services import BatchKey

WAIT = timedelta(seconds=60)  # what is out of order is there by then
ASK_AGAIN_AFTER = timedelta(hours=1)
MOST_TIMES = 5
VALID_FOR = timedelta(hours=24)
CHUNK = 500

# Raw: the ORM has no series. For each batch at most so many numbers as one command may name.
MISSING = """
SELECT b.terminal_id, b.batch_number, m.sequence
  FROM unnest(%s::bigint[], %s::integer[]) AS k(terminal_id, batch_number)
  JOIN settlement_batchsequence b USING (terminal_id, batch_number)
 CROSS JOIN LATERAL (
    SELECT s AS sequence FROM generate_series(1, b.last_sequence) AS s
    EXCEPT
    SELECT t.sequence FROM settlement_transaction t
     WHERE t.terminal_id = b.terminal_id AND t.batch_number = b.batch_number
     ORDER BY 1 LIMIT %s) AS m
 ORDER BY 1, 2, 3
"""


def missing(keys: Sequence[BatchKey]) -> dict[BatchKey, list[int]]:
    """Return the numbers that never came, by batch, at most MOST_ASKED of each."""
    found: dict[BatchKey, list[int]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(MISSING, [[key[0] for key in keys], [key[1] for key in keys], MOST_ASKED])
        for terminal_id, batch_number, sequence in cursor.fetchall():
            found[terminal_id, batch_number].append(sequence)
    return dict(found)


@transaction.atomic
def ask_for_missing(now: datetime) -> int:
    """Ask terminals once more for what is missing of their batches; return how many commands were queued."""
    due = Q(gap_since__lt=now - WAIT) & (Q(asked_at=None) | Q(asked_at__lt=now - ASK_AGAIN_AFTER))
    gaps = BatchSequence.objects.filter(due, gap_since__isnull=False, times_asked__lt=MOST_TIMES)
    chosen = list(gaps.order_by("gap_since").values_list("terminal_id", "batch_number")[:CHUNK])
    if not chosen:
        return 0
    held = hold(terminal_id for terminal_id, _ in chosen)
    found = missing(chosen)
    _note(chosen, found, now)
    commanded = {key: numbers for key, numbers in found.items() if held[key[0]].state in COMMANDED_STATES}
    create_commands(
        [
            CommandRequest(
                Target(key[0], held[key[0]].device_id),
                "upload_transactions",
                UploadTransactions(key[1], numbers if len(numbers) < MOST_ASKED else []),
                VALID_FOR,
            )
            for key, numbers in commanded.items()
        ],
        requested_by="settlement plan",
    )
    record_facts((key[0], GapFound(key[1], len(numbers), numbers[:10])) for key, numbers in commanded.items())
    return len(commanded)


# Raw: the ORM cannot update pairs of columns. A batch whose numbers are all there, doubled ones aside, has no gap any more.
NOTE = """
UPDATE settlement_batchsequence b
   SET asked_at = %(now)s, times_asked = b.times_asked + 1, gap_since = CASE WHEN k.gap THEN b.gap_since END
  FROM unnest(%(terminals)s::bigint[], %(numbers)s::integer[], %(gaps)s::boolean[]) AS k(terminal_id, batch_number, gap)
 WHERE b.terminal_id = k.terminal_id AND b.batch_number = k.batch_number
"""


def _note(keys: Sequence[BatchKey], found: Mapping[BatchKey, list[int]], now: datetime) -> None:
    parameters: dict[str, Any] = {
        "now": now,
        "terminals": [key[0] for key in keys],
        "numbers": [key[1] for key in keys],
        "gaps": [key in found for key in keys],
    }
    with connection.cursor() as cursor:
        cursor.execute(NOTE, parameters)


# Raw: an upsert that compares with what is there. A terminal that counts more than it numbered has a gap at its end.
EXPECT = """
INSERT INTO settlement_batchsequence AS n (terminal_id, batch_number, numbered_count, last_sequence, gap_since, times_asked)
SELECT terminal_id, batch_number, 0, expected, CASE WHEN expected > 0 THEN now() END, 0
  FROM unnest(%s::bigint[], %s::integer[], %s::integer[]) AS e(terminal_id, batch_number, expected)
ON CONFLICT (terminal_id, batch_number) DO UPDATE
   SET last_sequence = greatest(n.last_sequence, excluded.last_sequence),
       gap_since = CASE WHEN greatest(n.last_sequence, excluded.last_sequence) > n.numbered_count
                        THEN coalesce(n.gap_since, now()) END
"""


def expect(counts: Mapping[BatchKey, int]) -> None:
    """Note how many transactions terminals say that their batches hold; one statement."""
    if counts:
        keys = sorted(counts)
        with connection.cursor() as cursor:
            cursor.execute(EXPECT, [[k[0] for k in keys], [k[1] for k in keys], [counts[k] for k in keys]])
