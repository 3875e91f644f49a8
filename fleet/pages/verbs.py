"""What an operator can do on a terminal's page: a table name -> permission, service, and when it is offered."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings
from django.shortcuts import get_object_or_404
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from firmware.ddi.services import LET_SPEAK_DDI, MAY_SPEAK, issue_token
from firmware.models import Release
from firmware.services import ASSIGN_RELEASE, assign_release
from terminals.common.errors import Refusal
from terminals.common.scope import reach_of
from terminals.common.states import Transition
from terminals.common.words import word
from terminals.enrolment.codes import ISSUE_CODE, issue_activation_code, replace_with_code
from terminals.estate.models import Terminal, TerminalModel
from terminals.estate.replacing import REPLACE
from terminals.estate.rules import COMMANDED_STATES, TerminalState, TerminalTransition
from terminals.estate.services import TRANSITION_PERMISSIONS, change_state
from terminals.keys.services import DELIVER_KEY, request_key_delivery
from terminals.link.services import PLAIN_COMMANDS, SEND_COMMAND, send_plain_command
from terminals.settlement.runs.rules import RunState
from terminals.settlement.runs.services import REQUEST_SETTLEMENT, request_settlement


class Done(NamedTuple):
    """What to tell the operator; `secret` is shown on the answer itself and kept nowhere. `at` is the terminal whose page
    tells it, where that is another one."""

    told: str
    secret: str = ""
    at: int = 0


class Verb(NamedTuple):
    """`run` gets the terminal, the form and who asks; it raises Refusal where the service refuses."""

    permission: str
    states: tuple[str, ...]
    run: Callable[[Terminal, Mapping[str, str], Any], Done]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _install(terminal: Terminal, form: Mapping[str, str], user: Any) -> Done:
    release = get_object_or_404(Release, pk=_number(form.get("chosen", "")))
    downgrade = form.get("downgrade") == "yes"
    assign_release(release=release, terminals=[terminal], actor=user.get_username(), downgrade=downgrade)
    return Done(_("%(what)s is on its way.") % {"what": release})


def _deliver_key(terminal: Terminal, form: Mapping[str, str], user: Any) -> Done:
    key = request_key_delivery(terminal=terminal, usage=form.get("chosen", ""), actor=user.get_username())
    told = _("A new %(usage)s key is on its way; expected KCV %(kcv)s.")
    return Done(told % {"usage": key.usage, "kcv": key.kcv})


def _settle(terminal: Terminal, form: Mapping[str, str], user: Any) -> Done:
    run = request_settlement(terminal=terminal, actor=user.get_username())
    if run.state == RunState.BLOCKED:
        told = _("It is not ready: %(reason)s. It settles as soon as that clears (run %(run)s).")
        return Done(told % {"reason": run.reason, "run": run.pk})
    return Done(_("The terminal was asked to settle (run %(run)s).") % {"run": run.pk})


def _issue_code(terminal: Terminal, form: Mapping[str, str], user: Any) -> Done:
    code = issue_activation_code(terminal=terminal, actor=user.get_username())
    return Done(_("Activation code, shown only now, valid for 7 days"), secret=code)


def _issue_token(terminal: Terminal, form: Mapping[str, str], user: Any) -> Done:
    token = issue_token(terminal=terminal, actor=user.get_username())
    told = _("Controller id %(name)s. Target token of hawkBit's DDI, shown only now")
    return Done(told % {"name": terminal.device_id}, secret=token)


def _amounts(ticked: str) -> dict[str, int]:
    """Read the amounts that the operator saw and ticked, `EUR:4757 AUD:10`; what is none of ours matches nothing."""
    pairs = [part.partition(":") for part in ticked.split()]
    return {currency: int(minor) for currency, _colon, minor in pairs if re.fullmatch(r"-?[0-9]{1,19}", minor)}


def _transition(transition: Transition[TerminalState], terminal: Terminal, form: Mapping[str, str], user: Any) -> Done:
    write_off = _amounts(form.get("write_off", "")) if transition is TerminalTransition.retire else {}
    change_state(terminal=terminal, transition=transition, actor=user.get_username(), write_off=write_off)
    return Done(_("The terminal is now %(state)s.") % {"state": word(terminal.state)})


def _replace(terminal: Terminal, form: Mapping[str, str], user: Any) -> Done:
    chosen = form.get("chosen", "")
    model = TerminalModel.objects.filter(pk=_number(chosen)).first()
    if chosen and model is None:
        raise Refusal("unknown_model", "there is no model %(model)s", model=chosen[:40])
    write_off = _amounts(form.get("write_off", ""))
    serial = form.get("serial", "").strip()
    new, code = replace_with_code(terminal=terminal, user=user, serial=serial, model=model, write_off=write_off)
    said = {"new": new.serial, "old": terminal.serial}
    if code is None:
        return Done(_("%(new)s takes the place of %(old)s.") % said)
    told = _("%(new)s takes the place of %(old)s. Its activation code, shown only now, valid for 7 days")
    return Done(told % said, secret=code, at=new.pk)


def _send(command_type: str, terminal: Terminal, form: Mapping[str, str], user: Any) -> Done:
    command = send_plain_command(terminal=terminal, command_type=command_type, actor=user.get_username())
    return Done(capfirst(_("%(what)s is on its way.") % {"what": word(command.type)}))


VERBS: dict[str, Verb] = {
    "settle": Verb(REQUEST_SETTLEMENT, COMMANDED_STATES, _settle),
    "deliver_key": Verb(DELIVER_KEY, COMMANDED_STATES, _deliver_key),
    "install": Verb(ASSIGN_RELEASE, COMMANDED_STATES, _install),
    **{name: Verb(SEND_COMMAND, COMMANDED_STATES, partial(_send, name)) for name in PLAIN_COMMANDS},
    **{
        transition.name: Verb(permission, transition.sources, partial(_transition, transition))
        for transition, permission in TRANSITION_PERMISSIONS.items()
    },
    "replace": Verb(REPLACE, TerminalTransition.retire.sources, _replace),
    "activation_code": Verb(ISSUE_CODE, TerminalTransition.enrol.sources, _issue_code),
    "ddi_token": Verb(LET_SPEAK_DDI, MAY_SPEAK, _issue_token),
}


def label_of(name: str) -> str:
    """Return what a button says that does a verb at once."""
    said = {"settle": _("Settle now"), "activation_code": _("New activation code"), "resume": _("Resume")}
    return said.get(name) or capfirst(word(name))


def may(user: Any, verb: Verb, terminal: Terminal) -> bool:
    """Whether an operator may do it where the terminal stands."""
    return reach_of(user, verb.permission).covers(terminal.path)


def offered(terminal: Terminal, user: Any) -> set[str]:
    """Return the names of the verbs that the terminal's state and the operator's permissions allow."""
    found = {name for name, verb in VERBS.items() if terminal.state in verb.states and may(user, verb, terminal)}
    return found if settings.HAWKBIT_DDI else found - {"ddi_token"}
