"""What goes into many statements: arrays as text, and sessions that go past a pooler."""

import pytest
from django.conf import LazySettings
from django.db import connection

from fleet import env
from terminals.common.sql import array, direct_session, go_direct, texts
from tests import services

ODD = [
    "plain",
    "",
    'a "quote"',
    "back\\slash",
    "{1,2}",
    "NULL",
    "null",
    "None",
    " spaces ",
    "a,b",
    "é\n中",
    "'; DROP TABLE x; --",
]


@pytest.mark.django_db
def test_arrays_come_to_the_database_as_they_were() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT %s::text[], %s::bigint[], %s::boolean[]",
            [texts(ODD), array([1, None, -7]), array([True, None, False])],
        )
        assert cursor.fetchone() == (ODD, [1, None, -7], [True, None, False])
        cursor.execute("SELECT %s::text[], %s::bigint[]", [texts([]), array([])])
        assert cursor.fetchone() == ([], [])


@pytest.mark.django_db
def test_what_outlasts_a_transaction_goes_past_the_pooler(settings: LazySettings) -> None:
    name = connection.settings_dict["NAME"]
    with direct_session() as session:
        assert session.execute("SELECT current_database()").fetchone() == (name,)
    settings.DATABASE_DIRECT_URL = services.address("postgres")
    with direct_session() as session:
        assert session.execute("SELECT current_database()").fetchone() == ("postgres",)
    before = dict(connection.settings_dict)
    try:
        go_direct()
        assert connection.settings_dict["NAME"] == name, "where there is no pooler nothing changes"
        settings.DATABASE_DIRECT = env.database(services.address("postgres"))
        go_direct()
        assert connection.settings_dict["NAME"] == "postgres"
        assert connection.settings_dict["OPTIONS"]["connect_timeout"] == 5
    finally:
        connection.settings_dict.update(before)
