"""The settlement tick: one django-celery-beat entry for the whole fleet."""

from celery import shared_task
from django.utils import timezone

from terminals.common.partitions import keep_partitions
from terminals.settlement.plans import services as plans
from terminals.settlement.runs import opening, services, waiting
from terminals.settlement.transactions import gaps
from terminals.settlement.transactions.services import PARTITIONED


@shared_task
def settle_due() -> int:
    """Ask every terminal that is due to settle; return how many were asked. Each step costs a statement where nothing is due."""
    now = timezone.now()
    plans.refresh_stale()
    services.fail_silent_runs(now)
    services.ask_again(now)
    opened = opening.run_due_settlements(now)
    waiting.look_again(now)
    waiting.check_ahead(now)
    gaps.ask_for_missing(now)
    return opened


@shared_task
def keep_transaction_partitions() -> None:
    """Every day: next months' partitions of the transactions, and no older ones than are kept."""
    keep_partitions(PARTITIONED, timezone.now().date())
