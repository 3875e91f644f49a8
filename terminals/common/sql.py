"""What every room's own SQL shares."""

from collections.abc import Iterable

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
