"""What every room's own SQL shares."""

import time
from collections.abc import Iterable
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.db.models.expressions import RawSQL


def direct_session() -> psycopg.Connection:
    """Connect past any pooler (DATABASE_DIRECT_URL), in autocommit: for LISTEN, and for locks that outlive a transaction."""
    if settings.DATABASE_DIRECT_URL:
        return psycopg.connect(settings.DATABASE_DIRECT_URL, autocommit=True, connect_timeout=5)
    return psycopg.connect(**connection.get_connection_params(), autocommit=True)


def go_direct() -> None:
    """Let this process's connections go past any pooler from now on; call it before the first one is made."""
    connection.settings_dict |= settings.DATABASE_DIRECT


def id_set(ids: Iterable[int]) -> RawSQL:
    """Return ids for a filter's `__in` as one parameter: with two thousand of them the statement alone would cost 3 ms."""
    return RawSQL("SELECT unnest(%s::bigint[])", [list(ids)])


def array(values: Iterable[object]) -> str:
    """Return numbers, truth values, ids, instants (ISO 8601) or the protocol's own words as the text of one PostgreSQL array,
    None as NULL; what could hold a comma, a brace or a quote is for `texts`.

    For many rows in one statement: it is read several times as fast as JSON, and one text travels faster than many parameters.
    """
    return f"{{{','.join(map(str, values))}}}".replace("None", "NULL")


def texts(values: Iterable[str]) -> str:
    """Return any texts as the text of one PostgreSQL array."""
    return "{" + ",".join(['"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values]) + "}"


def delete_in_chunks(statement: str, parameters: list[Any], *, seconds: float = 60) -> int:
    """Repeat a DELETE of a limited number of rows until none is left or the time is over; return how many went.

    Each round is a transaction of its own, so that nobody waits for the whole.
    """
    deleted, deadline = 0, time.monotonic() + seconds
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(statement, parameters)
            deleted += cursor.rowcount
            if cursor.rowcount <= 0:
                break
    return deleted
