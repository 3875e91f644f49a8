"""The settlement tick: one django-celery-beat entry for the whole fleet."""

import time
from datetime import datetime

from celery import shared_task
from django.db import connection
from django.utils import timezone

from terminals.common.partitions import keep_partitions
from terminals.settlement.credits import expecting, matching, reading
from terminals.settlement.credits.judging import days_over
from terminals.settlement.plans import services as plans
from terminals.settlement.reports import services as reports
from terminals.settlement.risk import services as risk
from terminals.settlement.runs import opening, services, waiting
from terminals.settlement.transactions import gaps
from terminals.settlement.transactions.services import PARTITIONED

AT_A_TIME = 20  # seconds of one run of the work on credits: settlement has its turns between

# Raw: a function of the database, which keeps its plans (migration 0014); an idle tick is this one call. Each part is answered by
# a partial index, whatever the size of the fleet; NULL is no.
DUE = "SELECT settlement_due(%(now)s, %(silent)s, %(since)s, %(until)s, %(gap)s)"


@shared_task
def settle_due() -> int:
    """Do whatever is due; return how many runs were opened. A tick without work is one statement."""
    return tick(timezone.now())


def tick(now: datetime) -> int:
    """Do what a tick at an instant finds, in this order: who is due by which settings, who is to be asked, who waited."""
    since, until = services.failed_between(now)
    instants = {
        "now": now,
        "silent": now - services.REPORT_WITHIN,
        "since": since,
        "until": until,
        "gap": now - gaps.WAIT,
    }
    with connection.cursor() as cursor:
        cursor.execute(DUE, instants)
        ((stale, silent, failed, due, waited, ahead, missing),) = cursor.fetchone()
    if stale:
        plans.refresh_stale()
    if silent:
        services.fail_silent_runs(now)
    if failed:
        services.ask_again(now)
    opened = opening.run_due_settlements(now) if due or failed or stale else 0
    if waited:
        waiting.look_again(now)
    if ahead:
        waiting.check_ahead(now)
    if missing:
        gaps.ask_for_missing(now)
    return opened


# Raw: one statement; each part is answered by a partial index.
CREDITS_DUE = """
SELECT EXISTS (SELECT 1 FROM settlement_creditfile WHERE state IN ('reading', 'matching', 'withdrawing')),
       EXISTS (SELECT 1 FROM settlement_batch WHERE awaits_credit AND credit_due_on IS NULL),
       EXISTS (SELECT 1 FROM settlement_batch WHERE awaits_credit AND credit_due_on < %s)
"""


@shared_task
def work_on_credits() -> None:
    """Every few seconds: read credit files, give their entries to batches, and note what was not credited in time. Without work
    it is one statement."""
    until = time.monotonic() + AT_A_TIME
    with connection.cursor() as cursor:
        cursor.execute(CREDITS_DUE, [days_over(timezone.now())])
        files, undated, overdue = cursor.fetchone()
    while files and (reading.read_next() or matching.match_files(until)) and time.monotonic() < until:
        pass
    while undated and time.monotonic() < until:
        undated = expecting.date_credits()
    while overdue and time.monotonic() < until:
        overdue = expecting.note_overdue()


@shared_task
def make_reports() -> None:
    """Every few seconds: reports that were asked for, and those that are due by mail."""
    until = time.monotonic() + AT_A_TIME
    reports.send_due(timezone.now())
    while reports.make_next_report() and time.monotonic() < until:
        pass


@shared_task
def look_for_risk() -> None:
    """Every few seconds: what settled batches look like, and whether that is unusual."""
    until = time.monotonic() + AT_A_TIME
    while risk.profile_next() and time.monotonic() < until:
        pass


@shared_task
def match_late_credits() -> None:
    """Every few minutes: credits for terminals that were unknown when they came, and that are known by now."""
    matching.match_late(time.monotonic() + AT_A_TIME)


@shared_task
def keep_transaction_partitions() -> None:
    """Every day: next months' partitions of the transactions, no older ones than are kept, and no reports that nobody fetched."""
    keep_partitions(PARTITIONED, timezone.now().date())
    reports.forget_old_reports(timezone.now())
