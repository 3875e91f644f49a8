"""The roles that an operator can have at a node of the tree: named sets of the permissions that stand beside the services.

They are groups of Django's, made and kept as written here at each `manage.py migrate`; an administrator can make others beside
them. What a role may do, it may do at its node and below (terminals/common/scope.py).
"""

from typing import Any

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission

from firmware.ddi.services import LET_SPEAK_DDI
from firmware.releases import APPROVE_RELEASE, UPLOAD_RELEASE
from firmware.services import ASSIGN_RELEASE
from fleet.pages.selectors import PARTS
from terminals.campaigns.planning import PROPOSE as PROPOSE_CAMPAIGN
from terminals.campaigns.services import APPROVE as APPROVE_CAMPAIGN
from terminals.enrolment.codes import CLAIM, ISSUE_CODE
from terminals.enrolment.queue import DECIDE
from terminals.estate.replacing import REPLACE
from terminals.estate.services import REGISTER, TRANSITION_PERMISSIONS
from terminals.keys.services import DELIVER_KEY
from terminals.link.services import READ_MESSAGE, SEND_COMMAND
from terminals.parameters.services import SET_VALUES
from terminals.settlement.accounts.services import APPROVE as APPROVE_ACCOUNT
from terminals.settlement.accounts.services import PROPOSE as PROPOSE_ACCOUNT
from terminals.settlement.cases.services import APPROVE as APPROVE_CASE
from terminals.settlement.cases.services import WORK as WORK_ON_CASE
from terminals.settlement.credits.services import BRING as BRING_CREDITS
from terminals.settlement.credits.services import WITHDRAW as WITHDRAW_CREDITS
from terminals.settlement.plans.services import SET_SCHEDULE
from terminals.settlement.reports.services import CLOSE as CLOSE_DAY
from terminals.settlement.risk.services import CHANGE_RULE as CHANGE_RISK_RULE
from terminals.settlement.runs.services import REQUEST_SETTLEMENT


def _all_of(app: str, *models: str, verbs: tuple[str, ...] = ("view", "add", "change", "delete")) -> set[str]:
    return {f"{app}.{verb}_{model}" for model in models for verb in verbs}


def _seen(app: str, *models: str) -> set[str]:
    return _all_of(app, *models, verbs=("view",))


OWN_TOKENS = _all_of("access", "apitoken", verbs=("view", "add", "delete"))
VIEWER = (
    OWN_TOKENS
    | set(PARTS.values())
    | _seen("terminals", "organisation", "merchant", "store", "terminalmodel", "terminal")
    | _seen("firmware", "package", "release", "releasecomponent", "weakness")
    | _seen("keys", "keyrequirement")
    | _seen("campaigns", "campaign", "member")
    | _seen("parameters", "parametertemplate", "templateversion", "modeltemplate", "parameterset")
    | _seen(
        "settlement",
        "settlementplan",
        "settlementschedule",
        "planlevel",
        "businesscalendar",
        "batch",
        "transaction",
        "settlementaccount",
        "case",
        "difference",
        "creditprofile",
        "creditfile",
        "creditentry",
        "dailyfigure",
        "dailyclose",
        "riskrule",
    )
)
OPERATOR = (
    VIEWER
    | _all_of("settlement", "reportschedule")
    | _all_of("terminals", "terminalgroup")
    | {
        REGISTER,
        REPLACE,
        CLAIM,
        "terminals.change_terminal",
        ISSUE_CODE,
        LET_SPEAK_DDI,
        SEND_COMMAND,
        SET_VALUES,
        REQUEST_SETTLEMENT,
        SET_SCHEDULE,
        WORK_ON_CASE,
        BRING_CREDITS,
        CLOSE_DAY,
    }
    | {permission for verb, permission in TRANSITION_PERMISSIONS.items() if verb.name != "retire"}
)
RELEASE_MANAGER = (
    VIEWER
    | {ASSIGN_RELEASE, APPROVE_RELEASE, PROPOSE_CAMPAIGN, APPROVE_CAMPAIGN}
    | _all_of("firmware", "package", "release")
)
KEY_CUSTODIAN = VIEWER | {DELIVER_KEY} | _all_of("keys", "keyrequirement")
INSTALLER = _seen("terminals", "merchant", "store", "terminal", "terminalmodel") | {CLAIM}
# Who owns the shops, and looks at the own money.
MERCHANT = (
    _seen("terminals", "merchant", "store", "terminalmodel", "terminal")
    | {PARTS["money"]}
    | _seen(
        "settlement", "batch", "transaction", "settlementaccount", "settlementschedule", "creditentry", "dailyfigure"
    )
    | _seen("settlement", "case", "difference")
    | _all_of("settlement", "reportschedule")
)
AUDITOR = VIEWER | _seen("common", "auditentry") | _seen("auth", "user", "group") | _seen("link", "deadletter")
ADMINISTRATOR = (
    OPERATOR
    | RELEASE_MANAGER
    | KEY_CUSTODIAN
    | AUDITOR
    | {READ_MESSAGE, *TRANSITION_PERMISSIONS.values()}
    | _all_of("terminals", "organisation", "merchant", "store", "terminalmodel")
    | _all_of("parameters", "parametertemplate", "templateversion", "modeltemplate")
    | _all_of("settlement", "settlementplan", "businesscalendar", "creditprofile")
    | {PROPOSE_ACCOUNT, APPROVE_ACCOUNT, APPROVE_CASE, WITHDRAW_CREDITS, CHANGE_RISK_RULE}
    | _all_of("auth", "user", "group")
    | {DECIDE, "enrolment.view_enrolmentrequest"}
)
ROLES = {
    "viewer": VIEWER,
    "operator": OPERATOR,
    "installer": INSTALLER,
    "merchant": MERCHANT,
    "release manager": RELEASE_MANAGER,
    "key custodian": KEY_CUSTODIAN,
    "auditor": AUDITOR,
    "administrator": ADMINISTRATOR,
}

# What a stolen session must not do: these need a fresh log-in (terminals/common/fresh.py).
SENSITIVE = frozenset(
    {
        DELIVER_KEY,
        ASSIGN_RELEASE,
        PROPOSE_ACCOUNT,
        APPROVE_ACCOUNT,
        APPROVE_CASE,
        APPROVE_CAMPAIGN,
        PROPOSE_CAMPAIGN,
        "access.add_apitoken",
        UPLOAD_RELEASE,
        APPROVE_RELEASE,
    }
    | _all_of("keys", "keyrequirement", verbs=("add", "change", "delete"))
    | _all_of("auth", "user", "group", verbs=("add", "change", "delete"))
)


def keep_roles(**_of_signal: Any) -> None:
    """Make the roles what is written here; called after each migration, of the last application, whose permissions Django may
    not have made yet."""
    create_permissions(apps.get_app_config("firmware"), verbosity=0)
    permissions = {
        f"{one.content_type.app_label}.{one.codename}": one for one in Permission.objects.select_related("content_type")
    }
    for name, needs in ROLES.items():
        role, _made = Group.objects.get_or_create(name=name)
        role.permissions.set(permissions[one] for one in needs)
