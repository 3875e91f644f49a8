"""A release from its upload to its end: what is refused, who may do what, and whom it fits."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.files import File
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from firmware import services
from firmware.fitness import unfit_for
from firmware.models import Installation, Package, Release, RepositoryDocument
from firmware.releases import (
    approve_release,
    deprecate_release,
    publish_release,
    reinstate_release,
    withdraw_release,
)
from terminals.bulk.fitness import refused_among
from terminals.campaigns.services import cancel
from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.estate.models import Terminal, TerminalModel
from terminals.link.models import Command
from terminals.link.protocol.messages.software import Assignment
from terminals.link.services import CommandRequest, create_commands, target_of
from terminals.simulator.books import check_assignment
from tests.conftest import deliver, enrolled_device, in_thread, obey
from tests.firmware.conftest import refusal, running
from tests.releases import APPROVER, BUILDER, draft, keep_at, ready

Register = Callable[[str], Terminal]


# --- built by one, approved by another -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "version", ["1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "", "1.0.0 ", "1.0." + "9" * 40, "9999999999.0.0"]
)
def test_a_version_that_is_no_semantic_one_is_refused(db: None, version: str) -> None:
    assert refusal(draft, version=version) == "bad_version"
    assert not Release.objects.exists()


def test_what_cannot_be_a_release_is_refused_and_nothing_is_kept(db: None, settings: Any) -> None:
    package = Package.objects.create(name="pay")
    TerminalModel.objects.create(vendor="Acme", name="One", platform="linux-arm64")

    def publish(platform: str = "linux-arm64", content: bytes = b"x", **told: Any) -> str:
        file: Any = File(io.BytesIO(content))
        return refusal(
            publish_release, package=package, version="1.0.0", platform=platform, artifact=file, actor="ops", **told
        )

    assert publish(platform="windows") == "unknown_platform"
    assert publish(platform="../linux-arm64") == "unknown_platform"
    assert publish(content=b"") == "bad_artifact"
    assert publish(requires={"os": "latest"}) == "bad_requires"
    assert publish(requires=["os"]) == "bad_requires"
    assert publish(conflicts={"OS X": "1"}) == "bad_conflicts"
    other = TerminalModel.objects.create(vendor="Acme", name="Two", platform="android")
    assert publish(models_only=[other]) == "wrong_platform"
    assert (Release.objects.count(), AuditEntry.objects.count()) == (0, 0)


def test_nobody_approves_the_own_release_nor_other_bytes(db: None) -> None:
    release = draft()
    assert refusal(approve_release, release=release, actor=BUILDER, sha256=release.sha256) == "own_release"
    assert refusal(approve_release, release=release, actor=APPROVER, sha256="0" * 64) == "other_bytes"
    assert refusal(approve_release, release=release, actor=APPROVER, sha256=release.sha256) == "no_repository"
    release.refresh_from_db()
    assert (release.state, release.approved_by) == ("draft", "")
    with pytest.raises(IntegrityError, match="release_approved_by_another"), transaction.atomic():
        Release.objects.update(state="approved", approved_by=BUILDER)
    with pytest.raises(IntegrityError, match="release_approved_by_another"), transaction.atomic():
        Release.objects.update(state="approved")


def test_a_draft_is_sent_to_nobody(register: Register) -> None:
    terminal, release = register("SN-1"), draft("2.0.0")
    deliver(enrolled_device(terminal).hello())
    assert refusal(services.assign_release, release=release, terminals=[terminal], actor="ops") == "not_approved"
    assert refusal(keep_at, release=release) == "not_approved"
    assert refused_among([terminal.pk], unfit_for(release))[terminal.pk].reason == "not_approved"
    assert not Installation.objects.exists()


def test_a_release_lives_by_its_states(db: None) -> None:
    release = ready()
    release = deprecate_release(release=release, actor="ops", reason="2.0.0 is better")
    assert (release.state, release.state_reason) == ("deprecated", "2.0.0 is better")
    assert release.listed_at is not None, "whom it was promised can still fetch it"
    assert refusal(approve_release, release=release, actor=APPROVER, sha256=release.sha256) == "wrong_state"
    assert reinstate_release(release=release, actor="ops").state == "approved"
    assert refusal(withdraw_release, release=release, actor="ops", reason="  ") == "no_reason"
    campaign = keep_at(release)
    assert refusal(withdraw_release, release=release, actor="ops", reason="bad") == "is_followed"
    cancel(campaign=campaign, user=campaign.proposed_by)
    assert withdraw_release(release=release, actor="ops", reason="bad").state == "withdrawn"
    assert refusal(reinstate_release, release=release, actor="ops") == "wrong_state"
    actions = AuditEntry.objects.filter(action__startswith="release.").values_list("action", flat=True)
    assert {"release.approve", "release.deprecate", "release.reinstate", "release.withdraw"} <= set(actions)


def test_a_withdrawal_takes_back_what_no_terminal_has_seen(register: Register, client: Client) -> None:
    terminals = [register("SN-1"), register("SN-2")]
    devices = [enrolled_device(one) for one in terminals]
    deliver(*(device.hello() for device in devices))
    release = ready("2.0.0")
    services.assign_release(release=release, terminals=terminals, actor="ops")
    Command.objects.filter(terminal=terminals[0], type="install").update(attempts=1, state="sent")
    devices[0].receive("", bytes(Command.objects.get(terminal=terminals[0], type="install").payload))
    assert devices[0].pending_install is not None
    link = "/" + devices[0].pending_install.body.url.split("/", 3)[3]
    assert client.get(link).status_code == 200
    withdraw_release(release=release, actor="ops", reason="it breaks printers")
    assert sorted(Installation.objects.values_list("terminal__serial", "state")) == [
        ("SN-1", "assigned"),
        ("SN-2", "expired"),
    ]
    assert client.get(link).status_code == 404


# --- whom it fits ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("told", "runs", "reason"),
    [
        ({}, {"payment": "1.0.0"}, ""),
        ({}, {}, ""),
        ({}, {"payment": "2.0.0"}, "runs_it_already"),
        ({}, {"payment": "2.0.1"}, "downgrade"),
        ({}, {"payment": "10.0.0"}, "downgrade"),
        ({}, {"payment": "built on tuesday"}, ""),
        ({"requires": {"os": "12.4"}}, {"os": "12.4"}, ""),
        ({"requires": {"os": "12.4"}}, {"os": "12.10.1"}, ""),
        ({"requires": {"os": "12.4"}}, {"os": "12.3.9"}, "requires"),
        ({"requires": {"os": "12.4"}}, {}, "requires"),
        ({"conflicts": {"emv": "3.1.0"}}, {"emv": "3.1.0"}, "conflicts"),
        ({"conflicts": {"emv": "3.1.0"}}, {"emv": "3.1.1"}, ""),
        ({"expires_at": timezone.now() - timedelta(days=1)}, {}, "release_expired"),
    ],
)
def test_whom_a_release_fits(register: Register, told: dict[str, Any], runs: dict[str, str], reason: str) -> None:
    terminal = register("SN-1")
    running(terminal, **runs)
    found = refused_among([terminal.pk], unfit_for(ready("2.0.0", **told)))
    assert {pk: why.reason for pk, why in found.items()} == ({terminal.pk: reason} if reason else {})


def test_a_release_for_some_models_goes_to_no_other(register: Register) -> None:
    terminal = register("SN-1")
    two = TerminalModel.objects.create(vendor="Acme", name="Two", platform="linux-arm64")
    release = ready("2.0.0", models_only=[two])
    assert refused_among([terminal.pk], unfit_for(release))[terminal.pk].reason == "wrong_model"


def test_an_older_version_is_asked_about_and_bears_a_newer_counter(register: Register) -> None:
    terminal = register("SN-1")
    device = enrolled_device(terminal)
    deliver(device.hello())
    newer, older = ready("2.0.0"), ready("1.5.0")
    services.assign_release(release=newer, terminals=[terminal], actor="ops")
    obey(device, "install")
    deliver(device.finish_install(), device.hello())
    with pytest.raises(Refusal, match="a newer version runs on SN-1; say that an older one may replace it"):
        services.assign_release(release=older, terminals=[terminal], actor="ops")
    services.assign_release(release=older, terminals=[terminal], actor="ops", downgrade=True)
    obey(device, "install")
    assert device.pending_install is not None
    counters = list(Installation.objects.order_by("pk").values_list("counter", flat=True))
    assert counters == sorted(set(counters))
    assert device.pending_install.assignment.counter == counters[-1]


@pytest.mark.parametrize(
    ("serial", "counter", "target", "why"),
    [
        ("SN-1", 7, "p/1-pay-1.0.0.bin", ""),
        ("SN-1", 6, "p/1-pay-0.9.0.bin", ""),
        ("SN-1", 6, "p/1-pay-1.0.0.bin", "older"),
        ("SN-1", 5, "p/1-pay-0.9.0.bin", "older"),
        ("SN-2", 7, "p/1-pay-1.0.0.bin", "another terminal"),
    ],
)
def test_a_terminal_takes_no_earlier_assignment_and_no_other_terminals(
    register: Register, serial: str, counter: int, target: str, why: str
) -> None:
    assignment = Assignment(serial, "p", target, 1, "0" * 64, counter)
    told = check_assignment(assignment, serial="SN-1", counter=6, target="p/1-pay-0.9.0.bin")
    assert why in told if why else told == ""


def test_an_assignment_for_another_serial_is_rejected_by_the_terminal(register: Register) -> None:
    one, two = register("SN-1"), register("SN-2")
    device = enrolled_device(one)
    deliver(device.hello(), enrolled_device(two).hello())
    one.refresh_from_db()
    body = services.install_body(ready("2.0.0"), target_of(one), two.serial, 1)
    create_commands([CommandRequest(target_of(one), "install", body, timedelta(hours=1))], requested_by="ops")
    command = obey(device, "install")
    assert (command.state, device.pending_install) == ("rejected", None)


def test_two_who_approve_at_once_list_both(transactional_db: None) -> None:
    ready("0.9.0")
    one, other = (draft(f"1.{n}.0") for n in range(2))

    def approve(release: Release) -> None:
        approve_release(release=release, actor=APPROVER, sha256=release.sha256)

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            approve(one)
            second = pool.submit(in_thread, partial(approve, other))
            with pytest.raises(TimeoutError):  # it waits: what it lists must name the one that is not committed yet
                second.result(0.5)
        second.result(30)
    assert Release.objects.filter(state="approved", listed_at__isnull=False).count() == 3
    listed = RepositoryDocument.objects.filter(role="platform.linux-arm64").latest("version").content
    assert all(f"-{version}.bin" in listed for version in ("0.9.0", "1.0.0", "1.1.0"))
