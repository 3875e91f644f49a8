"""Which parameter versions terminals have applied."""

from django.db.models import F

from terminals.common.facts.services import record_facts
from terminals.link.routes import Outcome
from terminals.parameters.facts import ParametersAnswered
from terminals.parameters.models import TerminalParameters


def on_configure_outcomes(batch: list[Outcome]) -> None:
    """Note applied and refused versions; an answer to an older command than the last one sent changes nothing."""
    applied = [outcome.command_id for outcome in batch if outcome.state == "succeeded"]
    failed = [outcome.command_id for outcome in batch if outcome.is_final and outcome.state != "succeeded"]
    pending = TerminalParameters.objects.filter(state="pending")
    pending.filter(command__in=applied).update(state="applied", applied_id=F("wanted_id"))
    pending.filter(command__in=failed).update(state="failed")
    record_facts(
        (outcome.terminal_id, ParametersAnswered(outcome=outcome.state)) for outcome in batch if outcome.is_final
    )
