"""What campaigns can move, and what is measured on terminals before and after: features' services as kinds."""

from datetime import timedelta
from functools import partial

from django.db.models import QuerySet
from django.utils import timezone

from firmware import moving
from firmware.services import ASSIGN_RELEASE
from fleet.bulk_parameters import CONFIGURE
from fleet.bulk_verbs import check_key_usage, check_release, commanded, told_release, unfit_for_key, unfit_for_release
from terminals.campaigns import commands
from terminals.campaigns.kinds import Kind, Measure
from terminals.estate.models import Terminal
from terminals.estate.targets.fields import having
from terminals.health.models import HealthState
from terminals.keys import moving as key_moving
from terminals.keys.services import DELIVER_KEY
from terminals.link.services import SEND_COMMAND
from terminals.link.sessions import RESTARTS_WITHIN
from terminals.parameters import moving as parameter_moving
from terminals.settlement.models import SettlementRun
from terminals.settlement.runs.rules import TROUBLE

RECENT = timedelta(hours=24)
MANY_RESTARTS = 4  # within an hour; an update takes one or two
PARTS = ("card_reader", "keypad", "screen", "printer")

KINDS = (
    Kind(
        "install",
        ASSIGN_RELEASE,
        moving.thing,
        moving.order,
        check_release,
        unfit_for_release,
        told=told_release,
        take_back=moving.take_back,
        before=moving.before,
        passing=frozenset({"installation_under_way", "not_in_service", "repository_expired"}),
        needs_approval=lambda arguments: True,
        takes_conditions=True,
    ),
    Kind(
        "deliver_key",
        DELIVER_KEY,
        key_moving.thing,
        key_moving.order,
        check_key_usage,
        unfit_for_key,
        take_back=key_moving.take_back,
        passing=frozenset({"key_pending", "not_in_service"}),
        needs_approval=lambda arguments: True,
    ),
    Kind(
        "configure",
        CONFIGURE.permission,
        parameter_moving.thing,
        parameter_moving.order,
        CONFIGURE.check,
        lambda arguments: [*commanded(arguments), *CONFIGURE.unfit(arguments)],
        told=CONFIGURE.told,
        passing=frozenset({"not_in_service"}),
        needs_approval=lambda arguments: True,
    ),
    Kind(
        "command",
        SEND_COMMAND,
        commands.thing,
        commands.order,
        commands.check,
        commanded,
        take_back=commands.take_back,
        passing=frozenset({"not_in_service"}),
        needs_approval=lambda arguments: arguments["command"] != "ping",  # the others keep a till from selling
    ),
)


def _offline(terminals: QuerySet[Terminal]) -> QuerySet[Terminal]:
    return terminals.filter(session__online=False)


def _restarting(terminals: QuerySet[Terminal]) -> QuerySet[Terminal]:
    lately = timezone.now() - RESTARTS_WITHIN
    return terminals.filter(session__restarts__gte=MANY_RESTARTS, session__restarts_since__gt=lately)


def _faulty(part: str, terminals: QuerySet[Terminal]) -> QuerySet[Terminal]:
    return terminals.filter(having(HealthState.objects.all(), **{part: "fault"}))


def _settling_badly(terminals: QuerySet[Terminal]) -> QuerySet[Terminal]:
    recent = SettlementRun.objects.filter(state__in=TROUBLE, finished_at__gt=timezone.now() - RECENT)
    return terminals.filter(having(recent))


MEASURES: dict[str, Measure] = {
    "offline": _offline,
    "restarts": _restarting,
    **{part: partial(_faulty, part) for part in PARTS},
    "settlement": _settling_badly,
}
