"""Profiles of settled batches, judged by the rules that are switched on; and what a rule would have found in the past.

Each batch's transactions are read once, when it is settled. Set-based: a fixed number of statements for a chunk of batches.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from terminals.common.audit import services as audit
from terminals.common.scope import Reach
from terminals.estate.models import Organisation
from terminals.estate.services import hold_alone
from terminals.settlement.cases.differences import Found, note
from terminals.settlement.cases.rules import SUBJECTS, Subject
from terminals.settlement.risk.models import BatchProfile, RiskRule
from terminals.settlement.risk.rules import KEPT, Evidence, Profile, Sale, checked, judge, profile_of
from terminals.settlement.transactions.services import BatchKey, columns_of, of_batches

CHANGE_RULE = "settlement.change_riskrule"  # what a rule needs, and trying one
CHUNK = 100  # their terminals are held alone meanwhile: a tenth of a second
MOST_READ = 2000  # transactions of a batch
MOST_TRIED = 5000  # of the latest batches, against which a rule is tried
PEERS = 40
OF_RISK = [kind for kind, subject in SUBJECTS.items() if subject is Subject.RISK]

# Raw, all of this module's: pairs of columns, and the newest few of each.
DUE = """
SELECT r.terminal_id, r.batch_number, r.currency, r.place, r.finished_at, s.time_zone
  FROM settlement_settlementrun r
  JOIN terminals_terminal t ON t.id = r.terminal_id
  JOIN terminals_store s ON s.id = t.store_id
 WHERE r.to_profile AND r.id = ANY(%s)
"""
# Raw: as above.
NEXT = """
SELECT id, terminal_id FROM settlement_settlementrun WHERE to_profile ORDER BY id LIMIT %s
"""
# Raw: as above.
SALES = """
SELECT k.terminal_id, k.batch_number, t.kind, t.amount_minor, t.occurred_at AT TIME ZONE k.zone,
       coalesce(nullif(t.card_token, ''), t.card_last4)
  FROM unnest(%s::bigint[], %s::integer[], %s::text[], %s::text[]) AS k(terminal_id, batch_number, currency, zone)
 CROSS JOIN LATERAL (SELECT * FROM settlement_transaction x WHERE x.terminal_id = k.terminal_id
                        AND x.batch_number = k.batch_number AND x.currency = k.currency LIMIT %s) AS t
"""
# Raw: as above.
DONE = """
UPDATE settlement_settlementrun r SET to_profile = false
  FROM unnest(%s::bigint[], %s::integer[]) AS k(terminal_id, batch_number)
 WHERE (r.terminal_id, r.batch_number) = (k.terminal_id, k.batch_number)
"""
# Raw: as above. What a terminal and its merchant's other terminals were like before a batch.
PAST = """
SELECT k.terminal_id, k.batch_number, p.terminal_id = k.terminal_id, p.currency, p.sales_count, p.sales_minor, p.refund_count,
       p.refund_minor, p.largest_minor, p.round_count, p.most_of_a_card, p.most_in_ten_minutes, p.by_hour, p.place
  FROM unnest(%(terminals)s::bigint[], %(numbers)s::integer[], %(instants)s::timestamptz[])
       AS k(terminal_id, batch_number, settled_at)
 CROSS JOIN LATERAL (
    (SELECT * FROM settlement_batchprofile x WHERE x.terminal_id = k.terminal_id AND x.settled_at < k.settled_at
      ORDER BY x.settled_at DESC LIMIT %(kept)s)
    UNION ALL
    (SELECT x.* FROM terminals_terminal me
       JOIN terminals_store ms ON ms.id = me.store_id
       JOIN LATERAL (SELECT t.id FROM terminals_store s JOIN terminals_terminal t ON t.store_id = s.id
                      WHERE s.merchant_id = ms.merchant_id AND t.id <> me.id LIMIT %(peers)s) AS t ON true
       JOIN LATERAL (SELECT * FROM settlement_batchprofile y WHERE y.terminal_id = t.id AND y.settled_at < k.settled_at
                      ORDER BY y.settled_at DESC LIMIT 3) AS x ON true
      WHERE me.id = k.terminal_id LIMIT %(peers)s)) AS p
"""
COLUMNS = [name for name in Profile._fields if name not in ("currency", "place")]


class Batch(NamedTuple):
    """A settled batch that is looked at."""

    terminal_id: int
    batch_number: int
    profile: Profile
    settled_at: datetime

    @property
    def key(self) -> BatchKey:
        return self.terminal_id, self.batch_number


class Past(NamedTuple):
    """What was usual before a batch: at the terminal, and at its merchant's others."""

    own: list[Profile]
    peers: list[Profile]


@transaction.atomic
def profile_next() -> int:
    """Profile and judge the next settled batches; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(NEXT, [CHUNK])
        chosen = cursor.fetchall()
        if not chosen:
            return 0
        hold_alone(terminal_id for _run, terminal_id in chosen)
        cursor.execute(DUE, [[run for run, _terminal in chosen]])
        due = cursor.fetchall()
        if not due:  # another worker has looked at them meanwhile
            return len(chosen)
        columns = [[row[place] for row in due] for place in (0, 1, 2, 5)]
        cursor.execute(SALES, [*columns, MOST_READ])
        sales: dict[BatchKey, list[Sale]] = defaultdict(list)
        for terminal_id, number, *rest in cursor.fetchall():
            sales[terminal_id, number].append(Sale(*rest))
        cursor.execute(DONE, columns[:2])
    batches = [
        Batch(pk, number, profile_of(sales[pk, number], currency, place), at)
        for pk, number, currency, place, at, _zone in due
    ]
    BatchProfile.objects.bulk_create(
        [_row(one) for one in batches],
        update_conflicts=True,
        unique_fields=["terminal", "batch_number"],
        update_fields=["currency", "settled_at", "place", *COLUMNS],
    )
    _judge(batches)
    return len(batches)


def _row(one: Batch) -> BatchProfile:
    said = {**one.profile._asdict(), "by_hour": list(one.profile.by_hour)}
    return BatchProfile(terminal_id=one.terminal_id, batch_number=one.batch_number, settled_at=one.settled_at, **said)


def _judge(batches: Sequence[Batch]) -> None:
    rules = list(RiskRule.objects.select_related("organisation"))
    if not any(rule.enabled for rule in rules):
        return
    pasts, paths = pasts_of(batches), _paths_of(batches)
    found = []
    for one in batches:
        for rule in nearest(rules, paths[one.terminal_id]):
            if rule.enabled:  # one that is off nearby keeps off what is on further up
                evidence = judge(rule.signal, rule.settings, one.profile, *pasts[one.key])
                found += [_found(one, evidence)] if evidence is not None else []
    note(found, of=of_batches(sorted(one.key for one in batches)), kinds=OF_RISK)


def _found(one: Batch, evidence: Evidence) -> Found:
    return Found(
        *one.key,
        evidence.kind,
        one.profile.currency,
        expected_count=evidence.expected_count,
        expected_minor=evidence.expected_minor,
        found_count=evidence.found_count,
        found_minor=evidence.found_minor,
        detail=evidence.detail,
    )


def nearest(rules: Sequence[RiskRule], path: str) -> list[RiskRule]:
    """Return the rules that count at a place: of each signal that of the nearest organisation above it, else that of all."""
    chosen: dict[str, tuple[int, RiskRule]] = {}
    for rule in rules:
        above = rule.organisation.path if rule.organisation is not None else ""
        if path.startswith(above) and len(above) >= chosen.get(rule.signal, (-1, rule))[0]:
            chosen[rule.signal] = (len(above), rule)
    return [rule for _depth, rule in chosen.values()]


def _paths_of(batches: Sequence[Batch]) -> dict[int, str]:
    with connection.cursor() as cursor:
        ids = sorted({one.terminal_id for one in batches})
        cursor.execute("SELECT id, path FROM terminals_terminal WHERE id = ANY(%s)", [ids])
        return dict(cursor.fetchall())


def pasts_of(batches: Sequence[Batch]) -> Mapping[BatchKey, Past]:
    """Return what was usual before each batch: one statement."""
    pasts = {one.key: Past([], []) for one in batches}
    said: dict[str, Any] = {
        "terminals": [one.terminal_id for one in batches],
        "numbers": [one.batch_number for one in batches],
        "instants": [one.settled_at for one in batches],
        "kept": KEPT,
        "peers": PEERS,
    }
    with connection.cursor() as cursor:
        cursor.execute(PAST, said)
        for terminal_id, number, own, *rest in cursor.fetchall():
            past = pasts[terminal_id, number]
            (past.own if own else past.peers).append(Profile(*rest))
    return pasts


# --- trying a rule ---------------------------------------------------------------------------------------------------
def try_rule(signal: str, settings: Mapping[str, int], reach: Reach, days: int) -> list[tuple[Batch, Evidence]]:
    """Return what a rule would have found among the batches of the last days within a reach, as if it had been switched on; the
    newest first, of at most MOST_TRIED. Nothing is changed."""
    below = reduce(or_, (Q(terminal__path__startswith=path) for path in reach.paths), Q(pk__in=[]))
    rows = BatchProfile.objects.filter(below, settled_at__gte=timezone.now() - timedelta(days=days))
    found = []
    newest = list(rows.order_by("-settled_at")[:MOST_TRIED])
    for start in range(0, len(newest), CHUNK):
        batches = [_batch(row) for row in newest[start : start + CHUNK]]
        pasts = pasts_of(batches)
        judged = [(one, judge(signal, settings, one.profile, *pasts[one.key])) for one in batches]
        found += [(one, evidence) for one, evidence in judged if evidence is not None]
    return found


def _batch(row: BatchProfile) -> Batch:
    said: dict[str, Any] = {name: getattr(row, name) for name in ("currency", *COLUMNS, "place")}
    return Batch(row.terminal_id, row.batch_number, Profile(**said), row.settled_at)


# Raw: as above.
AGAIN = """
UPDATE settlement_settlementrun r SET to_profile = true
  FROM unnest(%s::bigint[], %s::integer[]) AS k(terminal_id, batch_number)
 WHERE (r.terminal_id, r.batch_number) = (k.terminal_id, k.batch_number)
"""


def profile_again(keys: Sequence[BatchKey]) -> None:
    """Late transactions came into settled batches: these are looked at again."""
    with connection.cursor() as cursor:
        cursor.execute(AGAIN, columns_of(keys))


@transaction.atomic
def set_rule(*, organisation: Organisation | None, signal: str, settings: Any, enabled: bool, actor: str) -> RiskRule:
    """Set a signal's rule for an organisation or for all, with its audit entry. Raises Refusal for settings that do not fit."""
    kept = checked(signal, settings)
    said: dict[str, Any] = {"settings": kept, "enabled": enabled}
    rule, made = RiskRule.objects.select_for_update(of=("self",)).get_or_create(
        organisation=organisation, signal=signal, defaults=said
    )
    old = {} if made else audit.stored_values(rule)
    if not made:
        rule.settings, rule.enabled = kept, enabled
        rule.save()
    action = f"riskrule.{'create' if made else 'update'}"
    audit.record_change(actor=actor, action=action, instance=rule, old=old, new=audit.stored_values(rule))
    return rule
