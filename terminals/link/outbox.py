"""How relays hear that commands are due: by NOTIFY, and once a second without."""

from django.db import connection

NOTIFY_CHANNEL = "tillwarden_outbox"


def wake_relay() -> None:
    """Tell the relays that there is work, on commit (NOTIFY is transactional)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [NOTIFY_CHANNEL])
