"""What operators can do to many terminals at once: the services of the features as bulk verbs (terminals/bulk/verbs.py)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from firmware.fitness import check_sendable, unfit_for
from firmware.models import Release
from firmware.services import ASSIGN_RELEASE, install
from fleet.bulk_parameters import CONFIGURE
from terminals.bulk.arguments import chosen, name_of, text_of
from terminals.bulk.verbs import Arguments, BulkVerb, Unfit
from terminals.common.errors import Refusal
from terminals.common.states import Transition
from terminals.common.words import format_minor
from terminals.estate.models import Store, Terminal, TerminalGroup
from terminals.estate.rules import COMMANDED_STATES, LINKED_STATES, TerminalState, TerminalTransition
from terminals.estate.services import (
    TRANSITION_PERMISSIONS,
    change_states,
    move_terminals,
    tag_terminals,
)
from terminals.keys.models import ProtectionKey, TerminalKey
from terminals.keys.rules import KeyState, check_usage
from terminals.keys.services import DELIVER_KEY, deliver_keys
from terminals.link.services import PLAIN_COMMANDS, SEND_COMMAND, Target, send_plain_commands
from terminals.settlement.leaving import OTHERS_MONEY, has_history
from terminals.settlement.models import Batch, SettlementPlan, SettlementRun, SettlementSchedule
from terminals.settlement.plans.services import SET_SCHEDULE, set_plan
from terminals.settlement.runs.rules import OPEN as OPEN_RUNS
from terminals.settlement.runs.services import NOT_BY_HAND, REQUEST_SETTLEMENT, request_settlements

CHANGE_TERMINAL = "terminals.change_terminal"
CHANGE_GROUP = "terminals.change_terminalgroup"
Ids = Sequence[int]
Refused = Mapping[int, Refusal]
NOBODY: Refused = {}
MINE = OuterRef("pk")


RETIRED = Unfit("retired", "it was retired", Q(state=TerminalState.RETIRED))


def _not_in(states: Sequence[str]) -> Unfit:
    return Unfit(
        "not_in_service", "its state is none of these: %(states)s", ~Q(state__in=states), {"states": ", ".join(states)}
    )


def _where(reason: str, template: str, rows: Any) -> Unfit:
    """Leave out terminals that have such a row."""
    return Unfit(reason, template, Q(Exists(rows.filter(terminal=MINE).order_by())))


def _targets(ids: Ids) -> list[Target]:
    return [Target(*row) for row in Terminal.objects.filter(pk__in=ids).order_by("pk").values_list("pk", "device_id")]


# --- commands, software, keys, parameters, settlement ----------------------------------------------------------------
def _send(command_type: str, ids: Ids, arguments: Arguments, actor: str) -> Refused:
    send_plain_commands(targets=_targets(ids), command_type=command_type, requested_by=actor)
    return NOBODY


def check_release(arguments: Arguments, user: Any) -> dict[str, Any]:
    """Return the release, and whether it may replace a newer version; raise Refusal for one that cannot be sent."""
    release = chosen(Release, arguments, "release", user, ASSIGN_RELEASE)
    check_sendable(release, timezone.now())
    downgrade = arguments.get("downgrade") or False
    if not isinstance(downgrade, bool):
        raise Refusal("bad_arguments", "downgrade: true or false")
    return {"release": release.pk} | ({"downgrade": True} if downgrade else {})


def unfit_for_release(arguments: Arguments) -> list[Unfit]:
    release = Release.objects.select_related("package").get(pk=arguments["release"])
    return [RETIRED, _not_in(COMMANDED_STATES), *unfit_for(release, downgrade=bool(arguments.get("downgrade")))]


def told_release(arguments: Arguments) -> str:
    """Return the release in words."""
    named = name_of(Release, "release", arguments)
    return (
        _("%(release)s, also where a newer version runs") % {"release": named} if arguments.get("downgrade") else named
    )


def _install(ids: Ids, arguments: Arguments, actor: str) -> Refused:
    release = Release.objects.select_related("package").get(pk=arguments["release"])
    install([(target, release) for target in _targets(ids)], requested_by=actor)
    return NOBODY


def check_key_usage(arguments: Arguments, user: Any) -> dict[str, Any]:
    usage = text_of(arguments, "usage")
    check_usage(usage)
    return {"usage": usage}


def unfit_for_key(arguments: Arguments) -> list[Unfit]:
    pending = TerminalKey.objects.filter(usage=arguments["usage"], state=KeyState.PENDING)
    return [
        RETIRED,
        _not_in(COMMANDED_STATES),
        _where("key_pending", "a key of this usage is on its way", pending),
        Unfit(
            "no_protection_key",
            "it has no protection key; it must enrol first",
            ~Q(Exists(ProtectionKey.objects.filter(terminal=MINE))),
        ),
    ]


def _deliver(ids: Ids, arguments: Arguments, actor: str) -> Refused:
    deliver_keys([(target, arguments["usage"]) for target in _targets(ids)], requested_by=actor)
    return NOBODY


def _check_plan(arguments: Arguments, user: Any) -> dict[str, Any]:
    return {"plan": chosen(SettlementPlan, arguments, "plan", user, SET_SCHEDULE).pk}


def _plan(ids: Ids, arguments: Arguments, actor: str) -> Refused:
    set_plan(terminal_ids=ids, plan=SettlementPlan.objects.get(pk=arguments["plan"]), actor=actor)
    return NOBODY


def _settle(ids: Ids, arguments: Arguments, actor: str) -> Refused:
    request_settlements(targets=_targets(ids), actor=actor)
    return NOBODY


# --- the estate ------------------------------------------------------------------------------------------------------
def _transition(transition: Transition[TerminalState], ids: Ids, arguments: Arguments, actor: str) -> Refused:
    reason = str(arguments.get("reason", ""))
    return change_states(terminal_ids=ids, transition=transition, actor=actor, reason=reason)


def _check_reason(arguments: Arguments, user: Any) -> dict[str, Any]:
    return {"reason": text_of(arguments, "reason")[:200]}


def _money(fit: QuerySet[Terminal], arguments: Arguments) -> list[str]:
    """Say what is not settled on terminals that will not settle by themselves any more."""
    open_batches = Batch.objects.filter(closed=False, transaction_count__gt=0, terminal__in=fit.order_by().values("pk"))
    terminals = open_batches.aggregate(n=Count("terminal", distinct=True))["n"]
    if not terminals:
        return []
    sums = open_batches.order_by("currency").values_list("currency").annotate(net=Sum("net_minor"))
    amounts = ", ".join(format_minor(net, currency) for currency, net in sums)
    told = ngettext(
        "Not settled on %(n)s terminal: %(amounts)s. Settle first: it does not settle until it is resumed.",
        "Not settled on %(n)s terminals: %(amounts)s. Settle first: they do not settle until they are resumed.",
        terminals,
    )
    return [told % {"n": terminals, "amounts": amounts}]


def _for_good(fit: QuerySet[Terminal], arguments: Arguments) -> list[str]:
    told = [_("For good: certificates are revoked, keys are destroyed, and they settle no more.")]
    if online := fit.filter(session__online=True).exclude(session__locked=True).count():
        said = ngettext(
            "%(n)s of them is online and not locked: lock it or switch it off first, or it goes on selling.",
            "%(n)s of them are online and not locked: lock them or switch them off first, or they go on selling.",
            online,
        )
        told.append(said % {"n": online})
    return told


def _own_schedules(fit: QuerySet[Terminal], arguments: Arguments) -> list[str]:
    if not (number := fit.filter(own_plan__isnull=False).exclude(own_plan__settings={}).count()):
        return []
    said = ngettext(
        "%(n)s terminal has settlement settings of its own, which it loses.",
        "%(n)s terminals have settlement settings of their own, which they lose.",
        number,
    )
    return [said % {"n": number}]


def _unfit_for(transition: Transition[TerminalState], arguments: Arguments) -> list[Unfit]:
    unfit = [_not_in([state.value for state in transition.sources])]
    if transition is TerminalTransition.retire:
        unsettled = Batch.objects.filter(closed=False, transaction_count__gt=0)
        unfit.append(
            _where(
                "unsettled_money",
                "it has money that is not settled; settle first, and resume it before if it is suspended",
                unsettled,
            )
        )
    return unfit


def _check_tag(arguments: Arguments, user: Any) -> dict[str, Any]:
    tag = text_of(arguments, "tag").strip()
    if not 0 < len(tag) <= 40 or not tag.isprintable():
        raise Refusal("bad_arguments", "tag: 1 to 40 printable characters")
    return {"tag": tag}


def _tag(ids: Ids, arguments: Arguments, actor: str, *, tagged: bool) -> Refused:
    tag_terminals(terminal_ids=ids, tag=arguments["tag"], tagged=tagged, actor=actor)
    return NOBODY


def _check_store(arguments: Arguments, user: Any) -> dict[str, Any]:
    return {"store": chosen(Store, arguments, "store", user, CHANGE_TERMINAL).pk}


def _unfit_for_move(arguments: Arguments) -> list[Unfit]:
    merchant = Store.objects.get(pk=arguments["store"]).merchant_id
    there = Terminal.objects.filter(store=arguments["store"]).exclude(state=TerminalState.RETIRED)
    same = there.filter(tid=OuterRef("tid")).exclude(pk=MINE).exclude(tid="")
    return [
        Unfit("there_already", "it stands there already", Q(store=arguments["store"])),
        Unfit(OTHERS_MONEY.reason, OTHERS_MONEY.template, ~Q(store__merchant=merchant) & has_history()),
        Unfit("tid_taken", "another terminal there has its TID", Q(Exists(same.order_by()))),
    ]


def _move(ids: Ids, arguments: Arguments, actor: str) -> Refused:
    """Move them, but for those whose TID an earlier one of the same set has."""
    rows = Terminal.objects.filter(pk__in=ids).exclude(tid="").exclude(state=TerminalState.RETIRED).order_by("pk")
    seen: Counter[str] = Counter()
    refused: dict[int, Refusal] = {}
    for pk, tid in rows.values_list("pk", "tid"):
        seen[tid] += 1
        if seen[tid] > 1:
            refused[pk] = Refusal("tid_taken", "another terminal there has its TID")
    store = Store.objects.get(pk=arguments["store"])
    move_terminals(terminal_ids=[pk for pk in ids if pk not in refused], store=store, actor=actor)
    return refused


def _check_group(arguments: Arguments, user: Any) -> dict[str, Any]:
    group = chosen(TerminalGroup, arguments, "group", user, CHANGE_GROUP)
    if group.filter:
        raise Refusal("bad_arguments", "the group %(group)s has a filter; it has no named terminals", group=group)
    return {"group": group.pk}


def _group(ids: Ids, arguments: Arguments, actor: str, *, joins: bool) -> Refused:
    members = TerminalGroup.objects.get(pk=arguments["group"]).members
    members.add(*ids) if joins else members.remove(*ids)
    return NOBODY


def _for_transition(transition: Transition[TerminalState], permission: str) -> BulkVerb:
    told = {TerminalTransition.suspend: _money, TerminalTransition.retire: _for_good}
    return BulkVerb(
        transition.name,
        permission,
        partial(_transition, transition),
        partial(_unfit_for, transition),
        _check_reason,
        warnings=told.get(transition, lambda fit, arguments: []),
        final=transition is TerminalTransition.retire,
    )


def _settling(arguments: Arguments) -> list[Unfit]:
    open_runs = SettlementRun.objects.filter(state__in=OPEN_RUNS)
    barred = SettlementSchedule.objects.filter(effective__settings__by_hand=False)
    return [
        _not_in(COMMANDED_STATES),
        _where("already_settling", "it is settling already", open_runs),
        _where(NOT_BY_HAND.reason, NOT_BY_HAND.template, barred),
    ]


def commanded(arguments: Arguments) -> list[Unfit]:
    return [RETIRED, _not_in(COMMANDED_STATES)]


def _linked(arguments: Arguments) -> list[Unfit]:
    return [_not_in(LINKED_STATES)]


VERBS = (
    BulkVerb("settle", REQUEST_SETTLEMENT, _settle, _settling),
    BulkVerb(
        "install",
        ASSIGN_RELEASE,
        _install,
        unfit_for_release,
        check_release,
        told=told_release,
    ),
    BulkVerb("deliver_key", DELIVER_KEY, _deliver, unfit_for_key, check_key_usage),
    CONFIGURE,
    BulkVerb(
        "set_plan",
        SET_SCHEDULE,
        _plan,
        _linked,
        _check_plan,
        told=partial(name_of, SettlementPlan, "plan"),
        warnings=_own_schedules,
    ),
    *(BulkVerb(name, SEND_COMMAND, partial(_send, name), commanded) for name in PLAIN_COMMANDS),
    *(_for_transition(transition, permission) for transition, permission in TRANSITION_PERMISSIONS.items()),
    BulkVerb("tag", CHANGE_TERMINAL, partial(_tag, tagged=True), check=_check_tag),
    BulkVerb("untag", CHANGE_TERMINAL, partial(_tag, tagged=False), check=_check_tag),
    BulkVerb("move", CHANGE_TERMINAL, _move, _unfit_for_move, _check_store, told=partial(name_of, Store, "store")),
    *(
        BulkVerb(
            name,
            CHANGE_TERMINAL,
            partial(_group, joins=name == "join_group"),
            check=_check_group,
            told=partial(name_of, TerminalGroup, "group"),
        )
        for name in ("join_group", "leave_group")
    ),
)
