"""Nothing of another part of the tree can be found or touched: every page and every operation, in every role."""

import io
import uuid
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.files.base import ContentFile
from django.db.models import Model, QuerySet
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from rest_framework.test import APIClient

from firmware.ddi.views import urlpatterns as ddi_addresses
from firmware.models import Installation, Package
from fleet.pages.verbs import VERBS
from fleet.roles import ROLES
from terminals.bulk.services import start
from terminals.campaigns.planning import propose as propose_campaign
from terminals.common.scope import below, placed_by
from terminals.enrolment.codes import issue_activation_code
from terminals.enrolment.models import ActivationCode, EnrolmentRequest
from terminals.estate.models import Membership, Merchant, Organisation, Store, Terminal, TerminalGroup, TerminalModel
from terminals.estate.registering import register_terminal
from terminals.importing.services import bring
from terminals.keys.services import request_key_delivery
from terminals.link.protocol.messages.health import Tamper
from terminals.parameters.models import ParameterSet, TemplateVersion
from terminals.settlement.accounts.services import propose
from terminals.settlement.cases.services import write
from terminals.settlement.credits.rules import checked
from terminals.settlement.credits.services import bring as bring_credits
from terminals.settlement.models import (
    Case,
    CreditFile,
    CreditProfile,
    DailyClose,
    PlanLevel,
    Report,
    SettlementAccount,
    SettlementPlan,
    SettlementRun,
)
from terminals.settlement.reports.services import close_day
from terminals.settlement.risk.models import RiskRule
from terminals.settlement.risk.services import set_rule
from terminals.settlement.runs.services import request_settlement
from terminals.settlement.tasks import work_on_credits
from tests.conftest import deliver, make_plan, obey, set_parameters, set_schedule, sold, working_device
from tests.fleet import test_permissions
from tests.releases import row
from tests.terminals.settlement.credits.files import Credit, camt

DAY = date(2026, 1, 5)
OPERATIONS: list[tuple[str, Any, str, str]] = test_permissions.OPERATIONS


class Part:
    """An organisation with a merchant, a store and a terminal about which there is something of every kind."""

    def __init__(self, name: str, shared: "Shared") -> None:
        self.organisation = Organisation.objects.create(name=name)
        self.merchant = Merchant.objects.create(name=f"{name} shops", mid=name, organisation=self.organisation)
        self.store = Store.objects.create(merchant=self.merchant, name="Corner")
        TerminalGroup.objects.create(name=name, organisation=self.organisation)
        self.terminal = register_terminal(serial=f"SN-{name}", model=shared.model, store=self.store, actor="ops")
        device = working_device(self.terminal)
        set_schedule(terminal=self.terminal, plan=shared.plan, actor="ops")
        propose(merchant=self.merchant, holder=name, number="DE89370400440532013000", actor="ops")
        set_parameters(self.terminal, currency="EUR")
        Installation.objects.create(terminal=self.terminal, release=shared.release, assigned_by="ops")
        request_key_delivery(terminal=self.terminal, usage="P0", actor="ops")
        deliver(sold(device, 4757), device.health(), device.report("tamper", Tamper(True, device.now(), "case open")))
        request_settlement(terminal=self.terminal, actor="ops")
        obey(device, "settle")
        EnrolmentRequest.objects.create(
            serial=self.terminal.serial,
            public_key_digest=name,
            address="::1",
            state="enrolled",
            terminal=self.terminal,
            last_asked_at=timezone.now(),
        )
        self.terminal.refresh_from_db()
        self.credits = self._credits()
        SettlementRun.objects.filter(terminal=self.terminal).update(settled_on=DAY)
        set_rule(organisation=self.organisation, signal="velocity", settings={}, enabled=True, actor="ops")
        self.campaign = propose_campaign(
            name=name,
            kind="install",
            arguments={"release": shared.release.pk},
            text=f"serial = SN-{name}",
            settings={},
            user=shared.root,
        )
        self.close = close_day(organisation=self.organisation, day=DAY, actor="ops")

    def _credits(self) -> CreditFile:
        """A credit file that was read."""
        said = {"reference": "TID {tid} BATCH {batch}"}
        profile = CreditProfile.objects.create(
            organisation=self.organisation, name="Bank", format="camt", settings=checked("camt", said)
        )
        Terminal.objects.filter(pk=self.terminal.pk).update(tid="00000001")
        file = io.BytesIO(camt([Credit(amount="1.00")]))
        job = bring_credits(profile=profile, file=file, name="x.xml", actor="ops")
        work_on_credits()
        job.refresh_from_db()
        return job

    def its(self, model: type[Model]) -> QuerySet[Any]:
        """Return a model's rows that stand in this part."""
        return model._default_manager.filter(below(placed_by(model), [self.organisation.path]))


class Shared:
    def __init__(self) -> None:
        self.model = TerminalModel.objects.create(vendor="Acme", name="One", platform="linux-arm64")
        self.plan = make_plan("Nightly", cycle="30 22 * * *")
        self.root = User.objects.create_superuser("proposer")
        package = Package.objects.create(name="pay")
        self.release = row(package)


class World:
    def __init__(self, role: str) -> None:
        shared = Shared()
        self.shared, self.home, self.foreign = shared, Part("HOME", shared), Part("FOREIGN", shared)
        self.user = User.objects.create_user("ann", password="a-long-password-here", is_staff=True)
        Membership.objects.create(
            user=self.user, role=Group.objects.get(name=role), organisation=self.home.organisation
        )
        self.api = APIClient()
        self.api.force_authenticate(self.user)
        self.browser = Client()
        self.browser.force_login(self.user)


@pytest.fixture(params=ROLES)
def world(request: Any, db: None) -> World:
    return World(request.param)


PLACED = [model for model in admin.site._registry if placed_by(model)]


def test_whatever_belongs_to_terminals_says_how_it_stands_in_the_tree() -> None:
    """What is forgotten here is closed to whoever works in a part of the tree; nothing that they need may be."""
    forgotten = [
        view.queryset.model._meta.label
        for _url, view, _method, _action in OPERATIONS
        if any(field.name == "terminal" for field in view.queryset.model._meta.get_fields())
        and not placed_by(view.queryset.model)
    ]
    assert forgotten == []


def test_no_operation_of_the_api_finds_a_foreign_object(world: World) -> None:
    for url, view, method, _action in OPERATIONS:
        model = view.queryset.model
        if "{pk}" not in url or not placed_by(model):
            continue
        theirs = world.foreign.its(model).first()
        assert theirs is not None, f"the test makes no {model._meta.label}"
        answer = world.api.generic(
            method.upper(), "/api/v1/" + url.replace("{pk}", str(theirs.pk)), "{}", content_type="application/json"
        )
        assert answer.status_code in (403, 404), (method, url, answer.status_code)


def test_the_apis_lists_show_what_is_at_home_and_nothing_foreign(world: World) -> None:
    seen = 0
    for url, view, _method, action in OPERATIONS:
        model = view.queryset.model
        if action != "list" or not placed_by(model):
            continue
        answer = world.api.get(f"/api/v1/{url}")
        if answer.status_code == 403:
            continue
        shown = {str(row.get("id", row.get("terminal"))) for row in answer.json()["results"]}
        assert not shown & {str(pk) for pk in world.foreign.its(model).values_list("pk", flat=True)}, url
        assert shown == {str(pk) for pk in world.home.its(model).values_list("pk", flat=True)}, url
        assert answer.json()["count"] == len(shown)
        seen += 1
    assert seen >= (8 if world.user.has_perm("settlement.view_settlementrun") else 3)


CAMT = {"name": "new", "format": "camt", "settings": {"reference": "TID {tid} BATCH {batch}"}}
WATCHED = [
    TerminalGroup,
    Organisation,
    Merchant,
    Store,
    Terminal,
    TerminalModel,
    PlanLevel,
    DailyClose,
    RiskRule,
    Report,
    CreditProfile,
    SettlementAccount,
    SettlementPlan,
    TemplateVersion,
    ParameterSet,
    Package,
]


def _of_money(foreign: Part) -> dict[str, dict[str, Any]]:
    return {
        "settlement/risk-rules/": {"organisation": foreign.organisation.pk, "signal": "velocity"},
        "settlement/risk-rules": {"signal": "velocity"},
        "settlement/closes/": {"organisation": foreign.organisation.pk, "day": "2026-01-06"},
        "settlement/closes": {"day": "2026-01-06"},
        "settlement/reports/": {"at": f"merchant:{foreign.merchant.pk}"},
        "settlement/reports/figures/": {"at": f"terminal:{foreign.terminal.pk}"},
        "settlement/credit-profiles/": {**CAMT, "organisation": foreign.organisation.pk},
        "settlement/credit-profiles": CAMT,
    }


def test_nothing_is_made_for_foreign_objects(world: World) -> None:
    shared, foreign, home = world.shared, world.foreign, world.home
    attempts = {
        "organisations/": {"name": "new", "parent": foreign.organisation.pk},
        "merchants/": {"name": "new", "mid": "new", "organisation": foreign.organisation.pk},
        "stores/": {"name": "new", "merchant": foreign.merchant.pk},
        "terminals/": {"serial": "SN-NEW", "model": shared.model.pk, "store": foreign.store.pk},
        "groups/": {"name": "new", "organisation": foreign.organisation.pk},
        "groups": {"name": "of nobody"},
        "keys/": {"terminal": foreign.terminal.pk, "usage": "D0"},
        "settlement/runs/": {"terminal": foreign.terminal.pk},
        "settlement/levels/": {"terminal": foreign.terminal.pk, "plan": shared.plan.pk},
        **_of_money(foreign),
        "settlement/levels": {"merchant": foreign.merchant.pk, "settings": {"retries": 1}},
        "settlement/accounts/": {"merchant": foreign.merchant.pk, "holder": "x", "number": "DE89370400440532013000"},
        f"releases/{shared.release.pk}/assign/": {"terminals": [home.terminal.pk, foreign.terminal.pk]},
        "parameters/values/": {"template": "till", "store": foreign.store.pk, "values": {}},
        "parameters/values/preview/": {"template": "till", "terminal": foreign.terminal.pk, "values": {}},
        "parameters/values": {"template": "till", "values": {}},
        # on top of the tree, or where everybody would have it
        "organisations": {"name": "on top"},
        "merchants": {"name": "on top", "mid": "on top"},
        "terminal-models/": {"vendor": "V", "name": "M", "platform": "linux-arm64"},
        "settlement/plans/": {"name": "For all", "cycle": "* * * * *"},
        "parameters/templates/": {"name": "for all", "schema": {"properties": {"a": {"type": "string"}}}},
        "packages/": {"name": "for-all"},
        "key-requirements/": {"model": shared.model.pk, "usage": "D0"},
    }
    before = [model._default_manager.count() for model in WATCHED]
    for path, body in attempts.items():
        answer = world.api.post(f"/api/v1/{path.rstrip('/')}/", body)
        assert answer.status_code in (400, 403, 404), (path, answer.status_code, answer.content)
    assert [model._default_manager.count() for model in WATCHED] == before


def test_nothing_of_ones_own_is_moved_away(world: World) -> None:
    moves = {
        f"merchants/{world.home.merchant.pk}/": {"organisation": world.foreign.organisation.pk},
        f"stores/{world.home.store.pk}/": {"merchant": world.foreign.merchant.pk},
        f"terminals/{world.home.terminal.pk}/": {"store": world.foreign.store.pk},
        f"organisations/{world.home.organisation.pk}/": {"parent": world.foreign.organisation.pk},
    }
    for path, body in moves.items():
        assert world.api.patch(f"/api/v1/{path}", body).status_code in (400, 403, 404), path
    assert world.api.patch(f"/api/v1/merchants/{world.home.merchant.pk}/", {"organisation": None}).status_code == 403
    assert world.home.its(Terminal).get() == world.home.terminal


@pytest.mark.parametrize("model", PLACED, ids=lambda model: str(model._meta.label))
def test_no_page_of_the_admin_finds_a_foreign_object(db: None, model: type[Model]) -> None:
    world = World("administrator")
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    theirs = world.foreign.its(model).first()
    assert theirs is not None
    for page in ("change", "delete", "history"):
        for send in (world.browser.get, world.browser.post):
            assert send(reverse(f"{name}_{page}", args=[theirs.pk])).status_code in (403, 404), page
    listed = world.browser.get(reverse(f"{name}_changelist"))
    assert listed.status_code == 200
    shown = {row.pk for row in listed.context["cl"].result_list}
    assert shown == set(world.home.its(model).values_list("pk", flat=True))
    chosen = {"action": "delete_selected", "_selected_action": [theirs.pk], "post": "yes"}
    world.browser.post(reverse(f"{name}_changelist"), chosen)
    assert world.foreign.its(model).filter(pk=theirs.pk).exists()


def test_the_admins_choices_and_forms_take_nothing_foreign(db: None) -> None:
    world = World("administrator")
    for model in PLACED:
        page = world.browser.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add"))
        if page.status_code == 403:
            continue
        for field in page.context["adminform"].form.fields.values():
            rows = getattr(field, "queryset", None)
            if rows is not None and placed_by(rows.model):
                assert not rows.filter(pk__in=world.foreign.its(rows.model)).exists(), (model, rows.model)


def test_choices_by_name_offer_nothing_foreign(db: None) -> None:
    world = World("administrator")
    asked = {"app_label": "terminals", "model_name": "terminal", "field_name": "store", "term": ""}
    offered = {row["id"] for row in world.browser.get(reverse("admin:autocomplete"), asked).json()["results"]}
    assert offered == {str(world.home.store.pk)}


def test_a_foreign_terminals_pages_are_not_found(world: World) -> None:
    theirs, mine = world.foreign.terminal.pk, world.home.terminal.pk
    for page in ("terminal-page", "terminal-panel"):
        assert world.browser.get(reverse(page, args=[theirs])).status_code == 404
        assert world.browser.get(reverse(page, args=[mine])).status_code == 200
    for verb in VERBS:
        assert world.browser.post(reverse("terminal-action", args=[theirs]), {"action": verb}).status_code == 404, verb
    assert Terminal.objects.get(pk=theirs).state == world.foreign.terminal.state


def test_the_overview_counts_ones_own_part(world: World) -> None:
    panel = world.browser.get(reverse("overview-panel"))
    overview = panel.context["overview"]
    assert overview.states == {"active": 1}
    if not world.user.has_perm("settlement.view_settlementrun"):  # an installer sees devices and no money
        assert (overview.online, overview.tampered, overview.settlements) == (1, 0, {})
        return
    assert (overview.online, overview.tampered) == (1, int(world.user.has_perm("health.view_healthstate")))
    assert overview.settlements == {"unbalanced": 1}
    assert overview.unreconciled_today == ["47.57 EUR"]
    if world.user.has_perm("firmware.view_installation"):
        assert overview.versions == {
            f"{c} {v}": 1 for c, v in world.home.terminal.software.values_list("component", "version")
        }
    assert "SN-FOREIGN" not in panel.content.decode()


def test_the_overview_of_who_works_everywhere_counts_all(db: None, client: Client) -> None:
    World("viewer")
    client.force_login(User.objects.create_superuser("root"))
    assert client.get(reverse("overview-panel")).context["overview"].states == {"active": 2}


def test_an_auditor_reads_what_happened_in_the_own_part(db: None) -> None:
    world = World("auditor")
    entries = world.api.get("/api/v1/audit/?page_size=1000").json()["results"]
    subjects = {entry["subject"] for entry in entries}
    assert "terminal:SN-HOME" in subjects
    assert not any("FOREIGN" in subject for subject in subjects)


# --- every address ---------------------------------------------------------------------------------------------------
OPEN_TO_ALL = {"healthz", "readyz", "metrics", "favicon.ico", "", "enrol", "artifacts/<str:token>", "^api/"}
OPEN_TO_ALL |= {"artifacts/<str:token>/<path:target>", "tuf/<str:name>"}
OPEN_TO_ALL |= {"pki/ocsp", "pki/ocsp/", "pki/ocsp/<path:asked>", "pki/device-ca.crl.pem"}
OPEN_TO_ALL |= {".well-known/est/cacerts", ".well-known/est/simplereenroll"}
OPEN_TO_ALL |= {str(one.pattern) for one in ddi_addresses}  # a device's own, by its token
# Pages that show nothing of the tree, and those that the tests above walk.
OF_NOBODY = {
    "admin/preferences/",
    "admin/api/",
    "admin/password_change/",
    "admin/import/example/",
    "api/v1/schema/",
    "api/v1/",
}
OF_THE_SITE = {"", "login/", "logout/", "password_change/", "password_change/done/", "autocomplete/", "jsi18n/"}
OF_THE_SITE |= {"r/<path:content_type_id>/<path:object_id>/", "^(?P<app_label>auth|...)/$", "search/", "(?P<url>.*)$"}
WALKED = {
    "admin/overview/panel/",
    "admin/terminals/<int:pk>/",
    "admin/terminals/<int:pk>/panel/",
    "admin/terminals/<int:pk>/action/",
    "admin/views/save/",  # views are one's own: tests/fleet/pages/test_list_bar.py
    "admin/views/<int:pk>/delete/",
    "admin/software/",  # tests/fleet/pages/test_software.py
    "admin/releases/<int:pk>/",
    "admin/releases/<int:pk>/act/",
    "admin/campaigns/new/",
    "admin/campaigns/<int:pk>/",
    "admin/campaigns/<int:pk>/panel/",
    "admin/campaigns/<int:pk>/act/",
    "admin/bulk/new/",
    "admin/bulk/jobs/<int:pk>/",
    "admin/bulk/jobs/<int:pk>/panel/",
    "admin/bulk/jobs/<int:pk>/cancel/",
    "admin/find/",
    "admin/settlement/at/<str:kind>/<int:pk>/",
    "admin/cases/<int:pk>/",
    "admin/cases/<int:pk>/action/",
    "admin/cases/<int:pk>/letter/",
    "admin/cases/<int:pk>/files/<int:note>/",
    "admin/risk/",
    "admin/risk/<str:signal>/",
    "admin/reports/settlement/",
    "admin/reports/close/",
    "admin/reports/closed/<int:pk>/",
    "admin/reports/<int:pk>/",
    "admin/reports/<int:pk>/panel/",
    "admin/reports/<int:pk>/file/",
    "admin/credits/new/",
    "admin/credits/<int:pk>/",
    "admin/credits/<int:pk>/panel/",
    "admin/credits/<int:pk>/withdraw/",
    "admin/parameters/",
    "admin/parameters/at/<str:kind>/<int:pk>/",
    "admin/codes/",
    "admin/claim/",
    "admin/claim/<int:pk>/progress/",
    "admin/waiting/<int:pk>/",
    "admin/import/new/",
    "admin/import/jobs/<int:pk>/",
    "admin/import/jobs/<int:pk>/panel/",
    "admin/import/jobs/<int:pk>/report/",
    "admin/import/jobs/<int:pk>/action/",
}


def addresses(resolver: Any, before: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, before + str(pattern.pattern))
        elif isinstance(pattern, URLPattern):
            yield before + str(pattern.pattern)


def test_every_address_is_walked_by_a_test_or_shows_nothing_of_the_tree() -> None:
    """A new page is named here, and tried with an object of a foreign part above."""
    unknown = {
        address
        for address in addresses(get_resolver())
        if address not in OPEN_TO_ALL | OF_NOBODY | WALKED and not address.startswith(("admin/", "api/v1/"))
    }
    assert unknown == set()
    pages = {a for a in addresses(get_resolver()) if a.startswith("admin/")} - OF_NOBODY - WALKED
    pages = {page for page in pages if not page.startswith("admin/account/")}  # one's own log-in
    models = {f"admin/{m._meta.app_label}/{m._meta.model_name}/" for m in admin.site._registry}
    rest = {page.removeprefix("admin/") for page in pages if not page.startswith(tuple(models))}
    assert {page for page in rest if page not in OF_THE_SITE and not page.startswith("^(?P<app_label>")} == set()


def test_the_sites_shortcut_to_an_object_is_not_a_way_around(db: None) -> None:
    world = World("administrator")
    assert world.browser.get(f"/admin/r/{uuid.uuid4()}/1/").status_code == 404


def test_a_foreign_job_is_not_found_and_a_target_ends_at_ones_own_part(world: World, client: Client) -> None:
    root = User.objects.create_superuser("root")
    job = start(verb="tag", arguments={"tag": "x"}, text="serial = SN-FOREIGN", user=root)
    for page in ("bulk-job", "bulk-job-panel"):
        assert world.browser.get(reverse(page, args=[job.pk])).status_code == 404
    assert world.browser.post(reverse("bulk-job-cancel", args=[job.pk])).status_code == 404
    assert job.items.filter(state="waiting").count() == 1
    asked = {"filter": "serial ~ SN-", "verb": "tag", "tag": "x", "preview": "1"}
    answer = world.browser.post(reverse("bulk"), asked)
    if "tag" in dict(answer.context["form"].fields["verb"].choices):
        assert answer.context["preview"].total == 1
    assert "SN-FOREIGN" not in answer.content.decode()
    offered = dict(answer.context["form"].fields["store"].choices)
    assert world.foreign.store.pk not in offered


def test_a_foreign_import_is_not_found_and_adds_nothing_elsewhere(world: World) -> None:
    root = User.objects.create_superuser("root")
    rows = b"merchant,store,serial,model\nFOREIGN shops,Corner,SN-NEW,Acme One\n"
    job = bring(file=ContentFile(rows, name="x.csv"), user=root)
    for page in ("import-job", "import-job-panel", "import-job-report"):
        assert world.browser.get(reverse(page, args=[job.pk])).status_code in (403, 404)
    started = world.browser.post(reverse("import-job-action", args=[job.pk]), {"action": "start"})
    assert started.status_code in (403, 404)
    job.refresh_from_db()
    assert job.state == "checked"
    if world.browser.get(reverse("import")).status_code == 200:
        own = bring(file=ContentFile(rows, name="x.csv"), user=world.user)
        assert [row.reason for row in own.rows.all()] == ["merchant_taken"]
        assert "SN-FOREIGN" not in "".join(row.why() for row in own.rows.all())


def test_no_code_is_issued_or_claimed_elsewhere_and_nobody_is_let_in(world: World) -> None:
    Terminal.objects.filter(pk=world.foreign.terminal.pk).update(state="registered")
    code = issue_activation_code(terminal=world.foreign.terminal, actor="ops")
    asked = world.browser.post(reverse("code-sheet"), {"filter": "serial ~ SN-", "issue": "1"})
    assert "FOREIGN" not in asked.content.decode()
    claimed = world.browser.post(reverse("claim"), {"serial": "SN-FOREIGN", "code": code})
    assert "FOREIGN shops" not in claimed.content.decode()
    assert world.browser.get(reverse("claim-progress", args=[world.foreign.terminal.pk])).status_code in (403, 404)
    waiting = EnrolmentRequest.objects.create(
        serial="SN-X", public_key_digest="0" * 64, address="::1", last_asked_at=timezone.now()
    )
    assert world.browser.get(reverse("waiting-device", args=[waiting.pk])).status_code in (403, 404)
    waiting.refresh_from_db()
    assert ActivationCode.objects.filter(terminal=world.foreign.terminal, claimed_at=None, used_at=None).count() == 1


def test_no_parameters_are_seen_or_set_elsewhere_or_for_all(world: World) -> None:
    foreign = world.foreign
    found = world.browser.get(reverse("parameters"), {"q": "FOREIGN"})
    assert "FOREIGN shops" not in found.content.decode()
    levels = [("organisation", foreign.organisation.pk), ("merchant", foreign.merchant.pk), ("store", foreign.store.pk)]
    for kind, pk in [*levels, ("terminal", foreign.terminal.pk), ("installation", 0), ("nothing", 1)]:
        url = reverse("parameters-level", args=[kind, pk])
        assert world.browser.get(url).status_code in (403, 404), kind
        assert world.browser.post(url, {"currency": "USD", "set": "1"}).status_code in (403, 404), kind
    assert not ParameterSet.objects.filter(values__currency="USD").exists()


def test_no_foreign_credit_file_is_seen_or_taken_back_and_none_is_brought_for_another(world: World) -> None:
    theirs, mine = world.foreign.credits, world.home.credits
    for name in ("credit-file", "credit-file-panel"):
        assert world.browser.get(reverse(name, args=[theirs.pk])).status_code in (403, 404)
        seen = 200 if world.user.has_perm("settlement.view_creditfile") else 403
        assert world.browser.get(reverse(name, args=[mine.pk])).status_code == seen
    assert world.browser.post(reverse("credit-file-withdraw", args=[theirs.pk])).status_code in (403, 404)
    said = {"profile": theirs.profile_id, "file": io.BytesIO(camt([Credit(batch=7)]))}
    world.browser.post(reverse("credits"), said)
    world.api.post("/api/v1/settlement/credit-files/", {**said, "file": io.BytesIO(b"x")}, format="multipart")
    assert CreditFile.objects.filter(profile=theirs.profile_id).count() == 1
    theirs.refresh_from_db()
    assert theirs.state == "done"


def test_no_foreign_campaign_is_seen_run_or_made(world: World) -> None:
    theirs = world.foreign.campaign
    for name in ("campaign", "campaign-panel"):
        assert world.browser.get(reverse(name, args=[theirs.pk])).status_code in (403, 404), name
    for action in ("approve", "start", "pause", "resume", "force", "cancel", "retry", "roll_back"):
        told = {"action": action, "digest": theirs.digest, "reason": "x"}
        assert world.browser.post(reverse("campaign-action", args=[theirs.pk]), told).status_code in (403, 404), action
    wanted = {"name": "x", "release": world.shared.release.pk, "filter": "serial ~ SN-", "preview": "1"}
    form = world.browser.get(reverse("campaign-new"))
    if form.status_code == 200:
        first = {
            name: field.initial for name, field in form.context["form"].fields.items() if field.initial is not None
        }
        answer = world.browser.post(reverse("campaign-new"), {**first, **wanted})
        assert answer.context["preview"].total == 1
        assert "SN-FOREIGN" not in answer.content.decode()
    theirs.refresh_from_db()
    assert (theirs.state, theirs.approved_by) == ("proposed", None)


def test_no_foreign_case_is_seen_worked_on_or_handed_out(world: World) -> None:
    theirs = world.foreign.its(Case).first()
    assert theirs is not None
    note = write(case=theirs, text="", content=b"voucher", file_type="text/plain", file_name="v.txt", actor="ops")
    pages = [reverse(name, args=[theirs.pk]) for name in ("case", "case-letter")]
    for url in (*pages, reverse("case-file", args=[theirs.pk, note.pk])):
        assert world.browser.get(url).status_code in (403, 404), url
    for action in ("take", "write", "close", "agree", "send_back", "take_back", "reopen"):
        told = {"action": action, "resolution": "fraud", "text": "x"}
        assert world.browser.post(reverse("case-action", args=[theirs.pk]), told).status_code in (403, 404), action
    chosen = {"action": "close_chosen", "_selected_action": theirs.pk, "confirm": "1", "resolution": "fraud"}
    world.browser.post(reverse("admin:settlement_case_changelist"), chosen)
    theirs.refresh_from_db()
    assert (theirs.state, theirs.owner) == ("open", None)


def test_no_settlement_settings_are_seen_or_set_elsewhere(world: World) -> None:
    foreign = world.foreign
    levels = [("organisation", foreign.organisation.pk), ("merchant", foreign.merchant.pk), ("store", foreign.store.pk)]
    for kind, pk in [*levels, ("terminal", foreign.terminal.pk), ("installation", 0), ("nothing", 1)]:
        url = reverse("settlement-level", args=[kind, pk])
        assert world.browser.get(url).status_code in (403, 404), kind
        assert world.browser.post(url, {"retries": "7", "set": "1"}).status_code in (403, 404), kind
    assert not PlanLevel.objects.filter(settings__retries=7).exists()


def test_the_search_box_finds_nothing_foreign(world: World) -> None:
    for text in ("SN-", "Corner", "FOREIGN", "HOME", "1"):
        page = world.browser.get(reverse("find"), {"q": text}).content.decode()
        assert "SN-FOREIGN" not in page
        assert "FOREIGN shops" not in page
    assert "SN-HOME" in world.browser.get(reverse("find"), {"q": "SN-HO"}).content.decode()
