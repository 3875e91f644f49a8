"""The overview's numbers: reading them for a part of the tree, folding what changed into them, counting them anew."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from django.db import connection, transaction

from fleet.pages.models import DAILY, Tally
from terminals.common.scope import Reach

CHUNK = 50_000
# What a day of the past came to is reports' business; two are kept for the time zones' sake.
KEEP_DAYS = timedelta(days=2)
# Raw, all of them: to read, one statement sees sums and lines as of one instant, whoever folds meanwhile; to fold, what is
# deleted is what is added, in an order in which no two folders wait for each other; no sum that terminals make up may stop it.
READ = """
WITH wanted AS (SELECT * FROM json_to_recordset(%(wanted)s) AS w(measure text, place text)),
lines AS (
    SELECT t.measure, t.label, t.amount FROM pages_tally t JOIN wanted w ON w.measure = t.measure AND w.place = t.place
    UNION ALL
    SELECT c.measure, c.label, c.amount FROM pages_tallychange c
      JOIN wanted w ON w.measure = c.measure AND starts_with(c.place, w.place)
)
SELECT measure, CASE WHEN measure = ANY(%(daily)s) THEN substr(label, 18) ELSE label END AS name, sum(amount)
  FROM lines WHERE measure <> ALL(%(daily)s) OR (label >= %(since)s AND label < %(until)s)
 GROUP BY measure, name HAVING sum(amount) <> 0 ORDER BY measure, name
"""
FOLD = """
WITH taken AS (
    DELETE FROM pages_tallychange
     WHERE id IN (SELECT id FROM pages_tallychange ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
    RETURNING place, measure, label, amount
), folded AS (
    INSERT INTO pages_tally AS t (place, measure, label, amount)
    SELECT a.place, measure, label, greatest(least(sum(amount), 9e18), -9e18)
      FROM taken CROSS JOIN LATERAL pages_above(taken.place) AS a(place)
     GROUP BY a.place, measure, label HAVING sum(amount) <> 0 ORDER BY a.place, measure, label
    ON CONFLICT (place, measure, label)
    DO UPDATE SET amount = greatest(least(t.amount::numeric + excluded.amount, 9e18), -9e18)
)
SELECT count(*) FROM taken
"""
COUNT_ANEW = """
INSERT INTO pages_tally (place, measure, label, amount)
SELECT a.place, c.measure, c.label, greatest(least(sum(c.amount), 9e18), -9e18)
  FROM pages_contribution c CROSS JOIN LATERAL pages_above(c.place) AS a(place)
 GROUP BY a.place, c.measure, c.label HAVING sum(c.amount) <> 0
"""
COUNTED = """
LOCK TABLE terminals_terminal, link_devicesession, health_healthstate, health_tamperalarm, keys_terminalkey, link_deadletter,
           settlement_batch, firmware_installedsoftware, settlement_settlementrun IN SHARE MODE
"""


def read(measures: Iterable[tuple[str, Reach]], since: datetime, until: datetime) -> dict[str, dict[str, int]]:
    """Return measure -> label -> number, each over its reach; of daily measures only what fell between two instants."""
    wanted = [{"measure": measure, "place": path} for measure, reach in measures for path in reach.paths]
    first, last = (f"{instant.astimezone(UTC):%Y-%m-%d %H:%M}" for instant in (since, until))
    asked: dict[str, Any] = {
        "wanted": msgspec.json.encode(wanted).decode(),
        "daily": list(DAILY),
        "since": first,
        "until": last,
    }
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(READ, asked)
        for measure, label, amount in cursor.fetchall():
            numbers[measure][label] = int(amount)
    return numbers


def fold(now: datetime) -> None:
    """Fold the lines that wait into the sums, a chunk a transaction, and forget days that are over and sums that are zero."""
    folded = CHUNK
    while folded == CHUNK:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(FOLD, [CHUNK])
            folded = cursor.fetchone()[0]
    Tally.objects.filter(measure__in=DAILY, label__lt=f"{now.astimezone(UTC) - KEEP_DAYS:%Y-%m-%d %H:%M}").delete()
    Tally.objects.filter(amount=0).delete()


@transaction.atomic
def count_anew() -> None:
    """Count every number from the rows themselves: after rows were loaded past the triggers. Writers wait meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(COUNTED)
        cursor.execute("TRUNCATE pages_tallychange, pages_tally")
        cursor.execute(COUNT_ANEW)


# Raw: the ORM has no INSERT ... SELECT. A row a node and version, however many terminals.
NOTE_SOFTWARE = """
INSERT INTO pages_dailysoftware (day, place, label, amount)
SELECT %s, place, label, amount FROM pages_tally WHERE measure = 'software' AND amount > 0
ON CONFLICT (day, place, label) DO UPDATE SET amount = excluded.amount
"""
KEEP_SOFTWARE = timedelta(days=400)


def note_software(today: date) -> None:
    """Note which versions run today, and forget what is older than a year or so."""
    with connection.cursor() as cursor:
        cursor.execute(NOTE_SOFTWARE, [today])
        cursor.execute("DELETE FROM pages_dailysoftware WHERE day < %s", [today - KEEP_SOFTWARE])
