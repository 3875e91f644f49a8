"""Writing facts."""

from collections.abc import Iterable

import msgspec
from django.db import connection

from terminals.common.facts.kinds import FactBody
from terminals.common.partitions import Partitioned

PARTITIONED = Partitioned("common_fact", "at", keep=14)


# Raw: each settlement leaves a fact, and the ORM takes five times as long to write it.
RECORD = """
INSERT INTO common_fact (kind, subject, terminal_id, at, body)
SELECT kind, subject, terminal_id, statement_timestamp(), body
  FROM json_to_recordset(%s) AS f(kind text, subject text, terminal_id bigint, body jsonb)
"""


def record_facts(facts: Iterable[tuple[int, FactBody]]) -> None:
    """Store (terminal id, what happened) pairs, in one statement."""
    rows = [
        {"kind": body.kind, "subject": body.subject(), "terminal_id": terminal_id, "body": body}
        for terminal_id, body in facts
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(RECORD, [msgspec.json.encode(rows).decode()])


# Raw: the ORM cannot insert one body for an array of ids.
RECORD_ONE = """
INSERT INTO common_fact (kind, subject, terminal_id, at, body)
SELECT %s, %s, terminal_id, now(), %s::jsonb FROM unnest(%s::bigint[]) AS terminal_id
"""


def record_fact_of_many(terminal_ids: Iterable[int], body: FactBody) -> None:
    """Store that the same happened to terminals, in one statement that carries it once."""
    with connection.cursor() as cursor:
        said = msgspec.json.encode(body).decode()
        cursor.execute(RECORD_ONE, [body.kind, body.subject(), said, list(terminal_ids)])
