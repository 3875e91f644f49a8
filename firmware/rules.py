"""How releases and installations move, and what a release may be called. Pure."""

import re
from enum import StrEnum
from typing import Any

import semver

from terminals.common.errors import Refusal
from terminals.common.states import Machine, Transition
from terminals.link.protocol.states import CommandState


class SoftwareKind(StrEnum):
    PAYMENT_APP = "payment_app"
    OS = "os"
    EMV_KERNEL = "emv_kernel"
    PARAMETER_FILE = "parameter_file"
    OTHER = "other"


class ReleaseState(StrEnum):
    DRAFT = "draft"  # uploaded; somebody else must approve it
    APPROVED = "approved"
    DEPRECATED = "deprecated"  # still there, and still sent to whom it was promised; nobody should choose it any more
    WITHDRAWN = "withdrawn"  # no terminal can get it any more


_R = ReleaseState
OFFERED = (_R.APPROVED, _R.DEPRECATED)  # what the repository lists


class ReleaseTransition(Machine):
    approve = Transition((_R.DRAFT,), _R.APPROVED)
    deprecate = Transition((_R.APPROVED,), _R.DEPRECATED)
    reinstate = Transition((_R.DEPRECATED,), _R.APPROVED)
    withdraw = Transition((_R.DRAFT, *OFFERED), _R.WITHDRAWN)


PLATFORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
LONGEST_VERSION, LARGEST = 40, 999_999_999  # as far as the database compares their numbers


def check_version(version: str) -> None:
    """Raise Refusal unless a version is a semantic one (semver.org 2.0.0)."""
    fits = len(version) <= LONGEST_VERSION and semver.Version.is_valid(version)
    if not fits or max(semver.Version.parse(version).to_tuple()[:3]) > LARGEST:
        raise Refusal(
            "bad_version",
            "%(version)s is no semantic version; write three numbers, like 2.1.0 or 2.1.0-rc.1",
            version=repr(version[:60]),
        )


def is_older(version: str, than: str) -> bool:
    """Whether a semantic version precedes another; one that is none (a terminal reports what it likes) precedes nothing."""
    if not (semver.Version.is_valid(version) and semver.Version.is_valid(than)):
        return False
    return semver.Version.parse(version) < semver.Version.parse(than)


class Severity(StrEnum):
    """Of a known weakness, as CycloneDX rates it; the worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    UNKNOWN = "unknown"


COMPONENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
BESIDE_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}")
MOST_BESIDE = 20


def checked_beside(name: str, wanted: Any) -> dict[str, str]:
    """Return component -> version, of what must or must not run beside a release; raise Refusal for anything else."""
    fits = isinstance(wanted, dict) and len(wanted) <= MOST_BESIDE
    if not fits or not all(
        isinstance(component, str)
        and COMPONENT.fullmatch(component)
        and isinstance(version, str)
        and BESIDE_VERSION.fullmatch(version)
        for component, version in wanted.items()
    ):
        raise Refusal(
            "bad_" + name,
            "%(name)s: write components with a version of numbers each, like {%(example)s}",
            name=name,
            example='"os": "12.4"',
        )
    return dict(wanted)


class InstallationState(StrEnum):
    ASSIGNED = "assigned"
    INSTALLING = "installing"
    INSTALLED = "installed"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    REPLACED = "replaced"  # another device took the terminal's place


_I = InstallationState
OPEN = (_I.ASSIGNED, _I.INSTALLING)
HAD = (_I.INSTALLED, _I.REJECTED, _I.FAILED)


class InstallationTransition(Machine):
    progress = Transition(OPEN, _I.INSTALLING)
    succeed = Transition(OPEN, _I.INSTALLED)
    fail = Transition(OPEN, _I.FAILED)
    reject = Transition(OPEN, _I.REJECTED)
    expire = Transition(OPEN, _I.EXPIRED)
    not_running = Transition((_I.INSTALLED,), _I.FAILED)
    replace = Transition((*OPEN, *HAD), _I.REPLACED)


BY_OUTCOME = {
    CommandState.SUCCEEDED: InstallationTransition.succeed,
    CommandState.FAILED: InstallationTransition.fail,
    CommandState.REJECTED: InstallationTransition.reject,
    CommandState.EXPIRED: InstallationTransition.expire,
    CommandState.CANCELLED: InstallationTransition.expire,
}


def outcome_of_command(state: str) -> Transition[InstallationState]:
    """Return the transition that a final state of the install command is; raise KeyError for one that is not final."""
    return BY_OUTCOME[CommandState(state)]
