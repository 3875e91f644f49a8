"""State machines: every state is reachable or first, final ones are left by nothing, and an unknown state raises."""

import pytest

from firmware.rules import InstallationTransition
from terminals.common.states import ImpossibleMove, Machine
from terminals.estate.rules import TerminalTransition
from terminals.keys.rules import KeyTransition
from terminals.link.protocol.states import CommandState, CommandTransition, is_final
from terminals.parameters.rules import ParameterTransition
from terminals.settlement.runs.rules import RunTransition

MACHINES = {
    "terminal": (TerminalTransition, {"retired"}),
    "command": (CommandTransition, {"succeeded", "failed", "rejected", "expired", "cancelled"}),
    "key": (KeyTransition, {"destroyed"}),
    "installation": (InstallationTransition, {"expired", "replaced"}),
    "run": (RunTransition, set()),
    "parameters": (ParameterTransition, {"applied", "failed", "invalid"}),
}


@pytest.mark.parametrize(("machine", "final"), MACHINES.values(), ids=MACHINES)
def test_exactly_the_final_states_are_left_by_nothing(machine: type[Machine], final: set[str]) -> None:
    states = type(machine.all[0].target)
    assert {state.value for state in states if not machine.leaving(state)} == final


@pytest.mark.parametrize(("machine", "final"), MACHINES.values(), ids=MACHINES)
def test_an_unknown_state_raises(machine: type[Machine], final: set[str]) -> None:
    with pytest.raises(ValueError, match="sucseeded"):
        machine.leaving("sucseeded")
    with pytest.raises(ValueError, match="sucseeded"):
        machine.all[0].after("sucseeded")


def test_an_impossible_move_raises() -> None:
    with pytest.raises(ImpossibleMove, match="succeeded does not run"):
        CommandTransition.run.after("succeeded")
    assert CommandTransition.run.after("sent") == "running"


def test_a_command_is_final_exactly_when_nothing_leaves_it() -> None:
    assert {s for s in CommandState if is_final(s)} == {s for s in CommandState if not CommandTransition.leaving(s)}
