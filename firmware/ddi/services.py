"""What DDI devices ask and tell: who they are, what they shall install, how it goes."""

import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from firmware import digests, installations
from firmware.models import DdiToken, Installation, InstalledSoftware, Package, Release
from firmware.rules import OPEN, InstallationState
from firmware.services import link_to
from terminals.campaigns.following import note_newcomers
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.transitions import move
from terminals.estate.models import Terminal
from terminals.estate.rules import LINKED_STATES, TerminalState, TerminalTransition
from terminals.estate.services import hold, hold_alone
from terminals.link.outcomes import advance_commands
from terminals.link.protocol.messages.link import Result
from terminals.link.protocol.messages.software import Install
from terminals.link.services import Target
from terminals.link.sessions import open_sessions, touch_sessions

LET_SPEAK_DDI = "firmware.add_dditoken"  # what issuing a device's target token needs
BOOT = "ddi"  # these devices tell no boot
MAY_SPEAK = (TerminalState.REGISTERED, *LINKED_STATES)
UNKNOWN = Refusal("unauthorized", "this device is not known here, or its token is not the right one")


@transaction.atomic
def issue_token(*, terminal: Terminal, actor: str) -> str:
    """Return a fresh target token of a terminal, shown only now; an earlier one loses its force. Raises Refusal where devices
    that speak DDI are not let in, and for a terminal that left service."""
    if not settings.HAWKBIT_DDI:
        raise Refusal("ddi_off", "devices that speak hawkBit's DDI are not let in here; set HAWKBIT_DDI=yes first")
    if terminal.state not in MAY_SPEAK:
        told = "terminal %(serial)s is %(state)s and cannot enrol"
        raise Refusal("cannot_enrol", told, serial=terminal.serial, state=terminal.state)
    token = secrets.token_urlsafe(24)
    DdiToken.objects.update_or_create(terminal=terminal, defaults={"digest": _digest(token), "issued_by": actor})
    audit.record(actor=actor, action="terminal.ddi_token", subject=subject_of(terminal))
    return token


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def device_of(name: str, authorization: str, certificate_name: str) -> DdiToken:
    """Return the device that a request comes from; raise Refusal unless it proves its name (a device id) by its target token, or
    by the client certificate that our proxy has checked."""
    devices = DdiToken.objects.select_related("terminal").filter(terminal__state__in=MAY_SPEAK)
    found = devices.filter(terminal__device_id=name).first()
    scheme, _space, token = authorization.partition(" ")
    if found is None:
        raise UNKNOWN.again()
    by_token = scheme == "TargetToken" and compare_digest(_digest(token), found.digest)
    if not by_token and certificate_name != name:
        raise UNKNOWN.again()
    return found


@transaction.atomic
def note_poll(device: DdiToken, now: datetime) -> None:
    """Note that a device was heard; the first time it goes to work. It never says hello: campaigns that follow look at it at its
    first poll of each day (UTC), and when it tells what it runs."""
    terminal = device.terminal
    hold_alone([terminal.pk])
    if terminal.state == TerminalState.REGISTERED:
        move(Terminal.objects.filter(pk=terminal.pk), TerminalTransition.enrol)
    if terminal.state in LINKED_STATES and device.polled_at is not None:
        touch_sessions({terminal.pk}, now)
    else:
        open_sessions({terminal.pk: (BOOT, None)}, now)
    if device.polled_at is None or device.polled_at.astimezone(UTC).date() != now.astimezone(UTC).date():
        note_newcomers([terminal.pk])
    _decline_conditions(device)
    DdiToken.objects.filter(pk=device.pk).update(polled_at=now)


class _Ordered(msgspec.Struct):
    body: Install


def _open_order(device: DdiToken) -> tuple[Installation, Install] | None:
    mine = Installation.objects.filter(terminal=device.terminal, state__in=OPEN, command__expires_at__gt=timezone.now())
    installation = mine.select_related("release__package", "command").first()
    if installation is None or installation.command is None:
        return None
    return installation, msgspec.json.decode(bytes(installation.command.payload), type=_Ordered).body


def _decline_conditions(device: DdiToken) -> None:
    """DDI has no word for what must hold first: a device would install in the middle of a payment. So we say no in its place."""
    found = _open_order(device)
    if found and found[1].conditions is not None and (command_id := found[0].command_id) is not None:
        told = "a device that speaks DDI cannot hold conditions"
        advance_commands([(device.terminal_id, Result(command_id, "rejected", code="conditions", detail=told))])


def current_action(device: DdiToken) -> Installation | None:
    """Return what a device shall install now. It runs what it has at once: nothing is offered before its version may run."""
    found, now = _open_order(device), timezone.now()
    if found is None or found[1].conditions is not None or (found[1].activate_at or now) > now:
        return None
    return found[0]


def cancelled_action(device: DdiToken) -> int | None:
    """Return the action that a device fetched and that was taken back since."""
    if device.action is None:
        return None
    ended = Installation.objects.filter(pk=device.action, state=InstallationState.EXPIRED)
    return device.action if ended.exists() else None


@transaction.atomic
def deployment(device: DdiToken, action: int) -> dict[str, Any] | None:
    """Return the deployment of an action in DDI's form; nothing for one that is not the device's present one."""
    installation = current_action(device)
    if installation is None or installation.pk != action:
        return None
    DdiToken.objects.filter(pk=device.pk).update(action=action)
    release = installation.release
    link = link_to(str(release.pk), Target(device.terminal_id, device.terminal.device_id))
    name = f"{release.package.component}-{release.version}.swu"
    artifact = {
        "filename": name,
        "hashes": {"sha1": _sha1(release), "sha256": release.sha256},
        "size": release.size_bytes,
        "_links": {key: {"href": f"{link}/{name}"} for key in ("download", "download-http")},
    }
    part = "os" if release.package.kind == "os" else "bApp"
    chunk = {"part": part, "name": release.package.name, "version": release.version, "artifacts": [artifact]}
    return {"id": str(action), "deployment": {"download": "forced", "update": "forced", "chunks": [chunk]}}


def _sha1(release: Release) -> str:
    """SWUpdate checks no other digest than this weak one; what counts is the signature of its image. Worked out once."""
    if not release.sha1:
        with release.artifact.open("rb") as file:
            release.sha1 = digests.sha1_of(file)
        Release.objects.filter(pk=release.pk).update(sha1=release.sha1)
    return release.sha1


RUNNING = ("proceeding", "resumed", "scheduled", "download", "downloaded")


@transaction.atomic
def take_feedback(device: DdiToken, action: int, status: Mapping[str, Any]) -> None:
    """Note how an action goes; raise Refusal for an unknown one or a word that DDI does not have."""
    pk = device.terminal_id
    hold([pk])
    installation = Installation.objects.filter(pk=action, terminal=pk).select_related("release__package").first()
    if installation is None or installation.command_id is None:
        raise Refusal("unknown_action", "there is no such action of this device")
    result = _result_of(installation, status)
    advance_commands([(pk, result)])
    if result.state in ("succeeded", "failed", "rejected"):
        DdiToken.objects.filter(pk=device.pk).update(action=None)
    newer = Installation.objects.filter(
        terminal=pk, pk__gt=action, release__package__component=installation.release.package.component
    )
    ended = installation.state in (InstallationState.FAILED, InstallationState.REJECTED, InstallationState.REPLACED)
    if result.state == "succeeded" and not ended and not newer.exists():  # an old action says nothing of what runs now
        installations.report_component(pk, installation.release.package.component, installation.release.version)


def _result_of(installation: Installation, status: Mapping[str, Any]) -> Result:
    command_id = installation.command_id
    assert command_id is not None  # noqa: S101 - the caller has looked
    execution, outcome = status.get("execution"), status.get("result")
    outcome = outcome if isinstance(outcome, dict) else {}
    detail = _plain(status.get("details"))
    if execution in RUNNING:
        return Result(command_id, "running", percent=_percent(outcome.get("progress")), detail=detail)
    if execution in ("canceled", "rejected"):
        return Result(command_id, "rejected", code=str(execution), detail=detail)
    if execution != "closed" or outcome.get("finished") not in ("success", "failure", "none"):
        raise Refusal("bad_feedback", "execution and result.finished are words of DDI v1")
    if outcome["finished"] == "failure":
        return Result(command_id, "failed", code="device", detail=detail, retryable=True)
    return Result(command_id, "succeeded", version=installation.release.version, detail=detail)


def _percent(progress: Any) -> int | None:
    if not isinstance(progress, dict):
        return None
    done, of = progress.get("cnt"), progress.get("of")
    if not isinstance(done, int) or not isinstance(of, int) or of <= 0:
        return None
    return max(0, min(99, done * 100 // of))


def _plain(details: Any) -> str | None:
    """Return a device's own words as far as they can be kept."""
    said = " ".join(one for one in details if isinstance(one, str)) if isinstance(details, list) else ""
    return "".join(one for one in said if one.isprintable())[:300] or None


@transaction.atomic
def confirm_cancel(device: DdiToken, action: int) -> None:
    """The device has stopped what was taken back."""
    DdiToken.objects.filter(pk=device.pk, action=action).update(action=None)


VERSION = re.compile(r"[0-9A-Za-z.+_-]{1,64}")


@transaction.atomic
def take_attributes(device: DdiToken, attributes: Mapping[str, Any]) -> None:
    """Note the versions among a device's attributes: those named like a component that we have packages for."""
    hold_alone([device.terminal_id])
    components = set(Package.objects.values_list("component", flat=True))
    for name, version in attributes.items():
        if name in components and isinstance(version, str) and VERSION.fullmatch(version):
            installations.report_component(device.terminal_id, name, version)
    note_newcomers([device.terminal_id])
    DdiToken.objects.filter(pk=device.pk).update(described_at=timezone.now())


def is_described(device: DdiToken) -> bool:
    """Whether a device told its attributes, or something else told what it runs."""
    return device.described_at is not None or InstalledSoftware.objects.filter(terminal=device.terminal_id).exists()


def sleep() -> str:
    """How long devices sleep between polls, as DDI writes it."""
    minutes, seconds = divmod(settings.HAWKBIT_POLL_SECONDS, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
