"""How an installation moves. Pure."""

from enum import StrEnum

from terminals.common.states import Machine, Transition
from terminals.link.protocol.states import CommandState


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
HAD = (_I.INSTALLED, _I.REJECTED, _I.FAILED)  # a terminal that had a release is not sent it again by itself


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
