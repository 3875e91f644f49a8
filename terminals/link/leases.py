"""Which link process holds which lanes, agreed upon in the database by its own clock.

A process says every two seconds that it is alive, and takes or gives up lanes by `rules.share`. Who is silent for LEASE has
lost its lanes to the others; the broker, which knows one connection for a client id, ends the one that it still has.
"""

from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction

from terminals.link.models import Lane, LinkProcess
from terminals.link.rules import share

LEASE_SECONDS = 6.0
RENEW_SECONDS = 2.0
IDLE_TIMEOUT = "idle_in_transaction_session_timeout"


class Held(NamedTuple):
    """What a process holds: `lanes`, of which it shall disconnect `give` and then call `give_up`; and `outdated`, lanes of
    another LINK_LANES (how many, number) that nobody holds any more: their sessions at the broker shall be ended."""

    lanes: set[int]
    give: list[int]
    outdated: list[tuple[int, int]]


# Raw: the ORM's upsert cannot write the database's clock, and the hosts' clocks need not agree.
ALIVE = """
INSERT INTO link_linkprocess (name, until) VALUES (%(name)s, clock_timestamp() + %(seconds)s * interval '1 second')
ON CONFLICT (name) DO UPDATE SET until = excluded.until
"""


@transaction.atomic
def renew(name: str) -> Held:
    """Say that a process is alive and share out the lanes anew."""
    with connection.cursor() as cursor:
        rows = _locked()
        cursor.execute("SELECT 1 FROM link_linkprocess WHERE name = %s AND until <= clock_timestamp()", [name])
        lapsed = cursor.fetchone() is not None
        cursor.execute(ALIVE, {"name": name, "seconds": LEASE_SECONDS})
        # Where it has lapsed the database was away, for the others as well: let them come back before they count as gone.
        if not lapsed:
            cursor.execute("DELETE FROM link_linkprocess WHERE until <= clock_timestamp()")
        alive = set(LinkProcess.objects.values_list("name", flat=True))
    ours = [row for row in rows if row.lanes == settings.LINK_LANES]
    holders = [row.holder for row in ours]
    wanted = share(holders, alive, name)
    if wanted.take:
        Lane.objects.filter(pk__in=[ours[number].pk for number in wanted.take]).update(holder=name)
    held = {number for number, holder in enumerate(holders) if holder == name} | set(wanted.take)
    outdated = [(row.lanes, row.number) for row in rows if row.lanes != settings.LINK_LANES and row.holder not in alive]
    return Held(held, wanted.give, outdated)


def _locked() -> list[Lane]:
    """Lock all lanes, so that one process after the other shares them out; make those that are missing.

    A host that dies while it holds them must not keep the others waiting until TCP notices.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', '2s', true), set_config(%s, '5s', true)", [IDLE_TIMEOUT])
    rows = list(Lane.objects.select_for_update().order_by("lanes", "number"))
    numbers = {row.number for row in rows if row.lanes == settings.LINK_LANES}
    if missing := sorted(set(range(settings.LINK_LANES)) - numbers):
        new = [Lane(lanes=settings.LINK_LANES, number=number) for number in missing]
        Lane.objects.bulk_create(new, ignore_conflicts=True)  # another process may be making them, too
        rows = list(Lane.objects.select_for_update().order_by("lanes", "number"))
    return rows


@transaction.atomic
def give_up(name: str, lanes: list[int]) -> None:
    """Leave lanes to the others; those that meanwhile went to another stay with it."""
    if lanes:
        _locked()
        Lane.objects.filter(lanes=settings.LINK_LANES, number__in=lanes, holder=name).update(holder="")


@transaction.atomic
def leave(name: str) -> None:
    """A process ends: the others need not wait until its lease runs out."""
    _locked()
    Lane.objects.filter(holder=name).update(holder="")
    LinkProcess.objects.filter(name=name).delete()


def forget(outdated: list[tuple[int, int]]) -> None:
    """Delete lanes whose sessions at the broker have been ended."""
    for lanes, number in outdated:
        Lane.objects.filter(lanes=lanes, number=number).delete()
