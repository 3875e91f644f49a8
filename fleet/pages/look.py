"""How the admin site looks: its name, its symbol and its menu (django-unfold's UNFOLD setting)."""

from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from terminals.common.scope import holds, opens

Item = dict[str, Any]


def _list_of(title: Any, icon: str, model: str, needs: str = "", *, own: bool = False) -> Item:
    """Return the entry of a model's list (`app_model`), shown to who may see it; `own`: everybody sees their own there."""
    app, name = model.rsplit("_", 1)
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model}_changelist"),
        "permission": _opened_by(app, name, needs or f"{app}.view_{name}", own),
    }


def _opened_by(app: str, name: str, permission: str, own: bool) -> Callable[[HttpRequest], bool]:
    return lambda request: (
        holds(request.user, permission) if own else opens(request.user, permission, apps.get_model(app, name))
    )


def _page_of(title: Any, icon: str, name: str, permission: str) -> Item:
    """Return the entry of a page of our own, shown to who holds its permission anywhere."""
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(name),
        "permission": lambda request: holds(request.user, permission),
    }


MENU: list[dict[str, Any]] = [
    {
        "title": _("Fleet"),
        "items": [
            {"title": _("Overview"), "icon": "monitoring", "link": reverse_lazy("admin:index")},
            _page_of(_("Find"), "search", "find", "terminals.view_terminal"),
            _list_of(_("Terminals"), "point_of_sale", "terminals_terminal"),
            _list_of(_("Stores"), "store", "terminals_store"),
            _list_of(_("Merchants"), "domain", "terminals_merchant"),
            _list_of(_("Organisations"), "account_tree", "terminals_organisation"),
            _list_of(_("Terminal groups"), "workspaces", "terminals_terminalgroup"),
            _list_of(_("Bulk work"), "checklist", "bulk_bulkjob", needs="terminals.view_terminal"),
            _list_of(_("Imports"), "upload_file", "importing_import", needs="terminals.add_terminal"),
            _page_of(_("Install a terminal"), "add_to_home_screen", "claim", "enrolment.claim_terminal"),
            _page_of(_("Activation codes"), "qr_code_2", "code-sheet", "enrolment.add_activationcode"),
            _list_of(_("Waiting devices"), "hourglass_top", "enrolment_enrolmentrequest"),
            _list_of(_("Terminal models"), "category", "terminals_terminalmodel"),
        ],
    },
    {
        "title": _("Money"),
        "items": [
            _list_of(_("Cases"), "gavel", "settlement_case"),
            _page_of(_("Reports"), "bar_chart", "settlement-report", "settlement.view_dailyfigure"),
            _list_of(_("Closed days"), "lock_clock", "settlement_dailyclose"),
            _list_of(_("Scheduled reports"), "schedule_send", "settlement_reportschedule", own=True),
            _list_of(_("Risk rules"), "crisis_alert", "settlement_riskrule"),
            _list_of(_("Credit files"), "request_quote", "settlement_creditfile"),
            _list_of(_("Credit entries"), "price_check", "settlement_creditentry"),
            _list_of(_("Credit profiles"), "rule_settings", "settlement_creditprofile"),
            _list_of(_("Settlement runs"), "payments", "settlement_settlementrun"),
            _list_of(_("Settlement plans"), "event_repeat", "settlement_settlementplan"),
            _list_of(_("Settlement settings of levels"), "account_tree", "settlement_planlevel"),
            _list_of(_("Business calendars"), "event_busy", "settlement_businesscalendar"),
            _list_of(_("Settlement schedules"), "calendar_month", "settlement_settlementschedule"),
            _list_of(_("Settlement accounts"), "account_balance", "settlement_settlementaccount"),
            _list_of(_("Batches"), "stacks", "settlement_batch"),
            _list_of(_("Transactions"), "receipt_long", "settlement_transaction"),
        ],
    },
    {
        "title": _("Software and keys"),
        "items": [
            _page_of(_("Software on terminals"), "donut_small", "software", "firmware.view_installation"),
            _list_of(_("Packages"), "inventory_2", "firmware_package"),
            _list_of(_("Releases"), "deployed_code", "firmware_release"),
            _list_of(_("Parts of releases"), "account_tree", "firmware_releasecomponent"),
            _list_of(_("Campaigns"), "campaign", "campaigns_campaign"),
            _list_of(_("Terminals of campaigns"), "checklist_rtl", "campaigns_member"),
            _list_of(_("Installations"), "install_mobile", "firmware_installation"),
            _list_of(_("Keys"), "key", "keys_terminalkey"),
            _list_of(_("Key requirements"), "key_vertical", "keys_keyrequirement"),
            _list_of(_("Parameters"), "tune", "parameters_parameterset"),
            _list_of(_("Parameters on terminals"), "settings_input_component", "parameters_terminalparameters"),
            _list_of(_("Parameter templates"), "settings_suggest", "parameters_templateversion"),
            _list_of(_("Parameter templates of models"), "category", "parameters_modeltemplate"),
        ],
    },
    {
        "title": _("Link"),
        "items": [
            _list_of(_("Commands"), "send", "link_command"),
            _list_of(_("Dead letters"), "report", "link_deadletter"),
        ],
    },
    {
        "title": _("Administration"),
        "collapsible": True,
        "items": [
            _list_of(_("Audit"), "history", "common_auditentry"),
            _list_of(_("Operators"), "group", "auth_user"),
            _list_of(_("Roles"), "badge", "auth_group"),
            _list_of(_("Your API tokens"), "vpn_key", "access_apitoken", own=True),
            {"title": _("API reference"), "icon": "api", "link": reverse_lazy("api-reference")},
            {"title": _("Language and time zone"), "icon": "translate", "link": reverse_lazy("preferences")},
            _list_of(_("Background work"), "schedule", "django_celery_beat_periodictask"),
            _list_of(_("Intervals"), "timer", "django_celery_beat_intervalschedule"),
            _list_of(_("Crontabs"), "event", "django_celery_beat_crontabschedule"),
            _list_of(_("One-off times"), "alarm", "django_celery_beat_clockedschedule"),
        ],
    },
]


def without_inline_style(request: HttpRequest) -> dict[str, Any]:
    """Leave the theme's colours to fleet/theme.css: the content security policy allows no style in the page."""
    return {"colors": None}


def _file(name: str, request: HttpRequest) -> str:
    return static(f"fleet/{name}")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Tillwarden",
    "SITE_HEADER": "Tillwarden",
    "SITE_URL": None,  # there is no other site to return to
    "SITE_SUBHEADER": _("Terminal management"),
    "SITE_SYMBOL": "point_of_sale",
    "SHOW_HISTORY": False,
    "DASHBOARD_CALLBACK": "fleet.pages.views.add_overview",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("fleet/favicon.svg")}],
    "GLOBAL_CALLBACK": "fleet.pages.look.without_inline_style",
    "STYLES": [lambda request: static("fleet/theme.css"), lambda request: static("fleet/overview.css")],
    "SCRIPTS": [
        lambda request: static("fleet/htmx_config.js"),
        lambda request: static("fleet/labels.js"),
        lambda request: static("fleet/find.js"),
    ],
    "ACCOUNT": {
        "navigation": [
            {"title": _("Second factors"), "link": reverse_lazy("mfa_index")},
            {"title": _("Your sessions"), "link": reverse_lazy("usersessions_list")},
            {"title": _("Language and time zone"), "link": reverse_lazy("preferences")},
        ]
    },
    "SIDEBAR": {"show_search": True, "show_all_applications": False, "navigation": MENU},
}
