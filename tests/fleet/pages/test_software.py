"""What runs where: versions now and some days ago, and how many terminals run a supported one, each for the own part."""

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from firmware.models import InstalledSoftware, Release
from fleet.pages import tallies
from fleet.pages.models import DailySoftware
from fleet.pages.software import components
from terminals.estate.models import Membership, Merchant, Store, Terminal
from tests.releases import ready

Register = Callable[[str], Terminal]


def run(terminal: Terminal, version: str) -> None:
    InstalledSoftware.objects.update_or_create(
        terminal=terminal, component="payment", defaults={"version": version, "reported_at": timezone.now()}
    )


def test_compliance_is_by_what_is_approved(register: Register, staff: Client) -> None:
    good, bad = ready("2.0.0"), ready("1.0.0")
    Release.objects.filter(pk=bad.pk).update(state="withdrawn")
    for number, version in enumerate((good.version, good.version, good.version, bad.version, "0.5.0")):
        run(register(f"SN-{number}"), version)
    page = staff.get(reverse("software"))
    [payment] = page.context["components"]
    assert (payment.total, payment.supported, payment.withdrawn, payment.percent) == (5, 3, 1, 60.0)
    standings = {row.version: (row.number, row.standing) for row in payment.versions}
    assert standings == {"2.0.0": (3, "approved"), "1.0.0": (1, "withdrawn"), "0.5.0": (1, "unknown")}
    assert "60.0 %" in page.content.decode()


def test_what_ran_a_week_ago_stands_beside_it(register: Register, staff: Client) -> None:
    terminal = register("SN-1")
    run(terminal, "1.0.0")
    tallies.fold(timezone.now())
    today = timezone.localdate(timezone=UTC)
    tallies.note_software(today - timedelta(days=7))
    tallies.note_software(today - timedelta(days=900))
    tallies.note_software(today)
    assert not DailySoftware.objects.filter(day__lt=today - timedelta(days=400)).exists()
    run(terminal, "2.0.0")
    run(register("SN-2"), "1.0.0")
    [payment] = staff.get(reverse("software")).context["components"]
    assert {row.version: (row.number, row.before) for row in payment.versions} == {
        "1.0.0": (1, [1, None]),
        "2.0.0": (1, [0, None]),
    }


def test_a_reader_of_a_part_sees_that_part(register: Register, client: Client) -> None:
    mine = register("SN-1")
    run(mine, "1.0.0")
    elsewhere = register("SN-2")
    other = Store.objects.create(merchant=Merchant.objects.create(name="Other", mid="9"), name="Other")
    elsewhere.store = other
    elsewhere.save()
    run(elsewhere, "3.0.0")
    tallies.fold(timezone.now())
    tallies.note_software(timezone.localdate(timezone=UTC) - timedelta(days=7))
    user = User.objects.create_user("ann", is_staff=True)
    Membership.objects.create(user=user, role=Group.objects.get(name="viewer"), store=mine.store)
    client.force_login(user)
    page = client.get(reverse("software"))
    [payment] = page.context["components"]
    assert [(row.version, row.before) for row in payment.versions] == [("1.0.0", [1, None])]
    assert "3.0.0" not in page.content.decode()
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(reverse("software")).status_code == 403


def test_a_page_costs_the_same_for_any_fleet(
    register: Register, staff: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        run(register(f"SN-{number}"), f"1.{number}.0")
    with django_assert_max_num_queries(16):
        staff.get(reverse("software"))


def test_a_label_without_a_version_does_no_harm(db: None) -> None:
    assert components({"payment": 2, "os 12.4": 0}, [None])[0].versions[0].version == ""
