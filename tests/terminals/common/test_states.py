"""State machines: every state is reachable or first, final ones are left by nothing, and an unknown state raises."""

from typing import Any

import pytest

from firmware.rules import INSTALLATION
from terminals.common.states import ImpossibleMove, Machine
from terminals.estate.rules import TERMINAL
from terminals.keys.rules import KEY
from terminals.link.protocol.states import COMMAND, CommandState, is_final
from terminals.parameters.rules import PARAMETERS
from terminals.settlement.rules import RUN

MACHINES = {
    "terminal": (TERMINAL, {"retired"}),
    "command": (COMMAND, {"succeeded", "failed", "rejected", "expired", "cancelled"}),
    "key": (KEY, {"destroyed"}),
    "installation": (INSTALLATION, {"failed", "rejected", "expired"}),
    "run": (RUN, set()),
    "parameters": (PARAMETERS, {"applied", "failed"}),
}


@pytest.mark.parametrize(("machine", "final"), MACHINES.values(), ids=MACHINES)
def test_exactly_the_final_states_are_left_by_nothing(machine: Machine[Any], final: set[str]) -> None:
    assert {state.value for state in machine.states if not machine.leaving(state)} == final


@pytest.mark.parametrize(("machine", "final"), MACHINES.values(), ids=MACHINES)
def test_an_unknown_state_or_transition_raises(machine: Machine[Any], final: set[str]) -> None:
    with pytest.raises(ValueError, match="sucseeded"):
        machine.leaving("sucseeded")
    with pytest.raises(KeyError):
        machine.sources("dance")


def test_an_impossible_move_raises() -> None:
    with pytest.raises(ImpossibleMove, match="succeeded does not run"):
        COMMAND.after("succeeded", "run")
    assert COMMAND.after("sent", "run") == "running"


def test_a_command_is_final_exactly_when_nothing_leaves_it() -> None:
    assert {s for s in CommandState if is_final(s)} == {s for s in CommandState if not COMMAND.leaving(s)}
