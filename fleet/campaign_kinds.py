"""What campaigns can move, and what is measured on terminals before and after: features' services as kinds."""

from datetime import timedelta
from functools import partial
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from firmware import moving
from firmware.models import Release
from firmware.services import ASSIGN_RELEASE
from fleet.bulk_parameters import CONFIGURE
from fleet.bulk_verbs import check_key_usage, check_release, commanded, told_release, unfit_for_key
from terminals.bulk.arguments import name_of
from terminals.bulk.verbs import Arguments, Unfit
from terminals.campaigns import commands
from terminals.campaigns.kinds import Kind, Measure
from terminals.common.errors import Refusal
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


def _check_releases(arguments: Arguments, user: Any) -> dict[str, Any]:
    """Return the release, and those that go after it in their order; raise Refusal for what cannot be sent."""
    kept, later = check_release(arguments, user), arguments.get("then") or []
    if not isinstance(later, list):
        raise Refusal("bad_arguments", "then: a list of releases by their ids, in their order")
    if then := [check_release({"release": pk}, user)["release"] for pk in later[: moving.MOST_PARTS]]:
        kept |= {"then": then}
    moving.check_parts(moving.parts_of(kept))
    return kept


def _unfit_for_releases(arguments: Arguments) -> list[Unfit]:
    downgrade = bool(arguments.get("downgrade"))
    return [*commanded(arguments), *moving.unfit_for_parts(moving.parts_of(arguments), downgrade=downgrade)]


def _told_releases(arguments: Arguments) -> str:
    then = [name_of(Release, "release", {"release": pk}) for pk in arguments.get("then", ())]
    return ", ".join([told_release(arguments), *(_("then %(release)s") % {"release": name} for name in then)])


KINDS = (
    Kind(
        "install",
        ASSIGN_RELEASE,
        moving.thing,
        moving.order,
        _check_releases,
        _unfit_for_releases,
        told=_told_releases,
        take_back=moving.take_back,
        before=moving.before,
        passing=frozenset({"installation_under_way", "not_in_service", "repository_expired"}),
        needs_approval=lambda arguments: True,
        takes_conditions=True,
        has_it=moving.has_it,
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
        has_it=key_moving.has_it,
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
