"""Settled batches: what terminals reported held against what they recorded, and against what their hosts counted."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.db import connection

from terminals.settlement.cases.differences import Found, note
from terminals.settlement.cases.rules import SUBJECTS, Subject
from terminals.settlement.dialects import HostTotals, read_totals
from terminals.settlement.reconciliation.lines import Wrong, differences_of, lines_of
from terminals.settlement.reconciliation.rules import DifferenceKind, Line, differing
from terminals.settlement.runs.facts import (
    ForeignCurrency,
    HostAnswered,
    HostTotalsDiffer,
    TotalsDiffer,
    UploadIncomplete,
)
from terminals.settlement.runs.rules import RunState
from terminals.settlement.transactions.services import BatchKey, of_batches

# What the comparison of a batch finds; what concerns its settling or its credit is found elsewhere.
OF_RECORDS = [
    *(kind for kind, subject in SUBJECTS.items() if subject is Subject.RECORDS),
    DifferenceKind.HOST,
    DifferenceKind.HOST_TOTALS,
]


class Compared(NamedTuple):
    """A settled batch's run as a comparison left it; `changed` where it came out otherwise than before."""

    run_id: int
    terminal_id: int
    batch_number: int
    currency: str
    state: str
    host_response: str
    reported_minor: int
    difference_minor: int
    upload_complete: bool
    closed_at: datetime | None
    host_said: bool  # its host's answer has data elements with totals
    changed: bool

    @property
    def key(self) -> BatchKey:
        return self.terminal_id, self.batch_number


class Disputed(NamedTuple):
    """A batch of which the host counted other than the terminal did."""

    currency: str
    told: HostTotals  # by the terminal
    said: HostTotals  # by the host


# Raw: a few lines a batch decide; no transaction is read. Of the main currency the sums are kept with the run; one that comes
# out as before is not written.
COMPARE = """
WITH lines AS MATERIALIZED (
    SELECT r.id, r.terminal_id, r.batch_number, r.currency, r.host_response, r.upload_complete, r.closed_at,
           r.host_fields <> '{}' AS host_said, r.state AS old_state, r.reported_minor AS old_reported,
           r.difference_minor AS old_difference, r.reasons <> '[]' AS had_reasons, l.reported, l.difference,
           CASE WHEN l.differs OR r.host_response <> '00' OR NOT r.upload_complete THEN %(unbalanced)s ELSE %(balanced)s END
               AS state
      FROM unnest(%(terminals)s::bigint[], %(numbers)s::integer[]) AS k(terminal_id, batch_number)
      JOIN settlement_settlementrun r USING (terminal_id, batch_number)
     CROSS JOIN LATERAL (
        SELECT coalesce(bool_or(reported_count <> recorded_count OR reported_minor <> recorded_minor), false) AS differs,
               coalesce(sum(sign * reported_minor) FILTER (WHERE currency = r.currency), 0)::bigint AS reported,
               coalesce(sum(sign * (reported_minor - recorded_minor)) FILTER (WHERE currency = r.currency), 0)::bigint
                   AS difference
          FROM settlement_batchtotal t
         CROSS JOIN LATERAL (SELECT CASE t.kind WHEN 'sale' THEN 1 WHEN 'declined' THEN 0 ELSE -1 END AS sign) AS s
         WHERE t.terminal_id = k.terminal_id AND t.batch_number = k.batch_number) AS l
), written AS (
    UPDATE settlement_settlementrun r
       SET state = l.state, reported_minor = l.reported, difference_minor = l.difference, reasons = '[]'
      FROM lines l
     WHERE r.id = l.id AND (l.had_reasons OR (l.old_state, l.old_reported, l.old_difference)
                                             IS DISTINCT FROM (l.state, l.reported, l.difference))
)
SELECT id, terminal_id, batch_number, currency, state, host_response, reported, difference, upload_complete, closed_at, host_said,
       old_difference IS NOT NULL AND (old_state, old_difference) <> (state, difference)
  FROM lines
"""
Reasons = list[dict[str, Any]]


def compare(keys: Sequence[BatchKey]) -> list[tuple[Compared, Reasons]]:
    """Hold settled batches' reported totals against their recorded ones and set their runs' states; return why each does not
    balance."""
    said = {"terminals": [key[0] for key in keys], "numbers": [key[1] for key in keys]}
    states = {"balanced": RunState.BALANCED.value, "unbalanced": RunState.UNBALANCED.value}
    with connection.cursor() as cursor:
        cursor.execute(COMPARE, {**said, **states})
        runs = [Compared(*row) for row in cursor.fetchall()]
    disputed = _disputed(runs)
    runs = [run._replace(state=RunState.UNBALANCED.value) if run.run_id in disputed else run for run in runs]
    wrong = [run for run in runs if run.state == RunState.UNBALANCED]
    reasons = _explain(wrong, disputed) if wrong else {}
    if healed := [run for run in runs if run.changed and run.state == RunState.BALANCED]:
        _note(healed, [])
    return [(run, reasons.get(run.run_id, [])) for run in runs]


# Raw: see above.
WRITE_REASONS = """
UPDATE settlement_settlementrun r SET reasons = w.reasons::jsonb
  FROM unnest(%s::bigint[], %s::text[]) AS w(id, reasons) WHERE r.id = w.id
"""


def _explain(wrong: Sequence[Compared], disputed: Mapping[int, Disputed]) -> dict[int, Reasons]:
    """Store why runs do not balance, and return it; what is different becomes a case."""
    lines = lines_of([run.key for run in wrong])
    found = differences_of([_wrong(run) for run in wrong], lines)
    _note(wrong, [*found, *(_of_host(run, disputed[run.run_id]) for run in wrong if run.run_id in disputed)])
    reasons = {run.run_id: _reasons(run, lines.get(run.key, [])) for run in wrong}
    for run_id, one in disputed.items():
        reasons[run_id].append(HostTotalsDiffer(one.currency, *one.told, *one.said).stored())
    with connection.cursor() as cursor:
        told = [msgspec.json.encode(reasons[run.run_id]).decode() for run in wrong]
        cursor.execute(WRITE_REASONS, [[run.run_id for run in wrong], told])
    return reasons


# Raw: see above. The answers whose data elements somebody has described, and what the terminal told of the same.
HOST_SAID = """
SELECT r.id, r.currency, r.host_fields, p.settings->>'host_totals', d.count, d.minor, c.count, c.minor
  FROM settlement_settlementrun r
  JOIN settlement_settlementschedule s ON s.terminal_id = r.terminal_id
  JOIN settlement_effectiveplan p ON p.id = s.effective_id AND p.settings->>'host_totals' <> ''
 CROSS JOIN LATERAL (SELECT coalesce(sum(reported_count), 0)::bigint AS count, coalesce(sum(reported_minor), 0)::bigint AS minor
                       FROM settlement_batchtotal t WHERE t.terminal_id = r.terminal_id AND t.batch_number = r.batch_number
                        AND t.currency = r.currency AND t.kind = 'sale') AS d
 CROSS JOIN LATERAL (SELECT coalesce(sum(reported_count), 0)::bigint AS count, coalesce(sum(reported_minor), 0)::bigint AS minor
                       FROM settlement_batchtotal t WHERE t.terminal_id = r.terminal_id AND t.batch_number = r.batch_number
                        AND t.currency = r.currency AND t.kind NOT IN ('sale', 'declined')) AS c
 WHERE r.id = ANY(%s)
"""
# Raw: see above.
DISPUTE = """
UPDATE settlement_settlementrun SET state = %s WHERE id = ANY(%s)
"""


def _disputed(runs: Sequence[Compared]) -> dict[int, Disputed]:
    """Return the runs whose host's totals are not those of the terminal; they do not balance. Nothing is asked where no host
    said any."""
    asked = [run.run_id for run in runs if run.host_said]
    if not asked:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(HOST_SAID, [asked])
        disputed = {}
        for run_id, currency, fields, layout, *told in cursor.fetchall():
            said = read_totals(json.loads(fields), layout)
            if said is not None and said != HostTotals(*told):
                disputed[run_id] = Disputed(currency, HostTotals(*told), said)
        if disputed:
            cursor.execute(DISPUTE, [RunState.UNBALANCED.value, list(disputed)])
    return disputed


def _of_host(run: Compared, one: Disputed) -> Found:
    counts = (sum(side[0::2]) for side in (one.told, one.said))
    expected_count, found_count = counts
    return Found(
        *run.key,
        DifferenceKind.HOST_TOTALS,
        one.currency,
        expected_count=expected_count,
        expected_minor=one.told.net_minor,
        found_count=found_count,
        found_minor=one.said.net_minor,
    )


def _wrong(run: Compared) -> Wrong:
    return Wrong(*run.key, run.currency, run.host_response, run.upload_complete, run.closed_at)


def _note(runs: Sequence[Compared], found: Sequence[Found]) -> None:
    note(found, of=of_batches(run.key for run in runs), kinds=OF_RECORDS)


def _reasons(run: Compared, lines: Sequence[Line]) -> Reasons:
    reasons: Reasons = [] if run.host_response == "00" else [HostAnswered(run.host_response).stored()]
    reasons += [] if run.upload_complete else [UploadIncomplete().stored()]
    settled = {run.currency} | {line.currency for line in lines if line.reported_count}
    for currency in sorted({line.currency for line in lines} - settled):
        foreign = [line for line in lines if line.currency == currency and line.kind != "declined"]
        net, count = sum(line.recorded_net for line in foreign), sum(line.recorded_count for line in foreign)
        reasons.append(ForeignCurrency(currency, net_minor=net, count=count).stored())
    for line in differing(line for line in lines if line.currency in settled):
        sides = (line.reported_count, line.reported_minor, line.recorded_count, line.recorded_minor)
        reasons.append(TotalsDiffer(line.method, line.kind, line.currency, *sides, scheme=line.scheme).stored())
    return reasons
