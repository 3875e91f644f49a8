"""How the admin site looks: its name, its symbol and its menu (django-unfold's UNFOLD setting)."""

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Tillwarden",
    "SITE_HEADER": "Tillwarden",
    "SITE_SUBHEADER": "Terminal management",
    "SITE_SYMBOL": "point_of_sale",
    "SHOW_HISTORY": False,
    "DASHBOARD_CALLBACK": "fleet.pages.views.add_overview",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("fleet/favicon.svg")}],
    "STYLES": [lambda request: static("fleet/overview.css")],
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "Fleet",
                "items": [
                    {"title": "Overview", "icon": "monitoring", "link": reverse_lazy("admin:index")},
                    {
                        "title": "Terminals",
                        "icon": "point_of_sale",
                        "link": reverse_lazy("admin:terminals_terminal_changelist"),
                    },
                    {"title": "Stores", "icon": "store", "link": reverse_lazy("admin:terminals_store_changelist")},
                    {
                        "title": "Merchants",
                        "icon": "domain",
                        "link": reverse_lazy("admin:terminals_merchant_changelist"),
                    },
                    {
                        "title": "Terminal models",
                        "icon": "category",
                        "link": reverse_lazy("admin:terminals_terminalmodel_changelist"),
                    },
                ],
            },
            {
                "title": "Money",
                "items": [
                    {
                        "title": "Settlement runs",
                        "icon": "payments",
                        "link": reverse_lazy("admin:settlement_settlementrun_changelist"),
                    },
                    {
                        "title": "Settlement plans",
                        "icon": "event_repeat",
                        "link": reverse_lazy("admin:settlement_settlementplan_changelist"),
                    },
                    {
                        "title": "Transactions",
                        "icon": "receipt_long",
                        "link": reverse_lazy("admin:settlement_transaction_changelist"),
                    },
                ],
            },
            {
                "title": "Software and keys",
                "items": [
                    {
                        "title": "Releases",
                        "icon": "deployed_code",
                        "link": reverse_lazy("admin:firmware_release_changelist"),
                    },
                    {
                        "title": "Installations",
                        "icon": "install_mobile",
                        "link": reverse_lazy("admin:firmware_installation_changelist"),
                    },
                    {"title": "Keys", "icon": "key", "link": reverse_lazy("admin:keys_terminalkey_changelist")},
                    {
                        "title": "Parameters",
                        "icon": "tune",
                        "link": reverse_lazy("admin:parameters_parameterversion_changelist"),
                    },
                ],
            },
            {
                "title": "Link",
                "items": [
                    {"title": "Commands", "icon": "send", "link": reverse_lazy("admin:link_command_changelist")},
                    {
                        "title": "Dead letters",
                        "icon": "report",
                        "link": reverse_lazy("admin:link_deadletter_changelist"),
                    },
                    {
                        "title": "Audit",
                        "icon": "history",
                        "link": reverse_lazy("admin:common_auditentry_changelist"),
                    },
                    {"title": "Operators", "icon": "group", "link": reverse_lazy("admin:auth_user_changelist")},
                ],
            },
        ],
    },
}
