"""Transactions, settlements and the outcomes of settle commands: parsed here, done by services."""

from typing import cast

from terminals.link.protocol.messages.settlement import Settlement, Transactions
from terminals.link.routes import Outcome, Received
from terminals.settlement.plans.services import ensure_schedules
from terminals.settlement.runs import services, settling
from terminals.settlement.runs.settling import Report
from terminals.settlement.transactions.services import Upload


def on_transactions(messages: list[Received]) -> None:
    """Record uploaded transactions."""
    settling.take_uploads([Upload(m.terminal_id, m.received_at, cast(Transactions, m.body)) for m in messages])


def on_settlement(messages: list[Received]) -> None:
    """Settle the batches that terminals closed."""
    settling.settle_batches([Report(m.terminal_id, m.received_at, cast(Settlement, m.body)) for m in messages])


def on_settle_outcomes(outcomes: list[Outcome]) -> None:
    """Move runs with their commands."""
    services.follow_commands(outcomes)


def on_hello(messages: list[Received]) -> None:
    """Give newly active terminals a schedule."""
    ensure_schedules({m.terminal_id for m in messages}, messages[-1].received_at)
