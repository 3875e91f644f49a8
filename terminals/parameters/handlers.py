"""Which parameter versions terminals have applied."""

from django.db.models import F

from terminals.link.routes import Outcome
from terminals.parameters.models import TerminalParameters
from terminals.services import add_timeline


def on_configure_outcomes(batch: list[Outcome]) -> None:
    """Note applied and refused versions; an answer to an older command than the last one sent changes nothing."""
    applied = [outcome.command_id for outcome in batch if outcome.state == "succeeded"]
    failed = [outcome.command_id for outcome in batch if outcome.is_final and outcome.state != "succeeded"]
    pending = TerminalParameters.objects.filter(state="pending")
    pending.filter(command__in=applied).update(state="applied", applied_id=F("wanted_id"))
    pending.filter(command__in=failed).update(state="failed")
    add_timeline(
        (
            outcome.terminal_id,
            "parameters",
            "parameters applied" if outcome.state == "succeeded" else f"parameters {outcome.state}",
        )
        for outcome in batch
        if outcome.is_final
    )
