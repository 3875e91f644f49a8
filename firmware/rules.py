"""How an installation moves. Pure."""

from enum import StrEnum

from terminals.common.states import Machine
from terminals.link.protocol.states import CommandState


class InstallationState(StrEnum):
    ASSIGNED = "assigned"
    INSTALLING = "installing"
    INSTALLED = "installed"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"


_I = InstallationState
OPEN = (_I.ASSIGNED, _I.INSTALLING)
HAD = (_I.INSTALLED, _I.REJECTED, _I.FAILED)  # a terminal that had a release is not sent it again by itself
INSTALLATION = Machine(
    InstallationState,
    {
        "progress": (OPEN, _I.INSTALLING),
        "succeed": (OPEN, _I.INSTALLED),
        "fail": (OPEN, _I.FAILED),
        "reject": (OPEN, _I.REJECTED),
        "expire": (OPEN, _I.EXPIRED),
        "not_running": ((_I.INSTALLED,), _I.FAILED),
    },
)
BY_OUTCOME = {
    CommandState.SUCCEEDED: "succeed",
    CommandState.FAILED: "fail",
    CommandState.REJECTED: "reject",
    CommandState.EXPIRED: "expire",
    CommandState.CANCELLED: "expire",
}


def outcome_of_command(state: str) -> str:
    """Return the transition that a final state of the install command is; raise KeyError for one that is not final."""
    return BY_OUTCOME[CommandState(state)]
