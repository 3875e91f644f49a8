"""Every address that the server answers on."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path, re_path
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.views import SpectacularAPIView

from firmware.ddi.views import urlpatterns as ddi_addresses
from firmware.downloads import download_artifact
from firmware.tuf.views import repository_document
from fleet import readiness
from fleet.access.logins import change_own_password
from fleet.access.urls import account_urls
from fleet.api import router
from fleet.pages import (
    bulk,
    campaigns,
    cases,
    credits,
    enrolling,
    finding,
    importing,
    list_bar,
    parameters,
    plan_levels,
    releases,
    reports,
    risk,
    software,
    views,
)
from fleet.pages.preferences import preferences_page
from fleet.pages.reference import api_reference
from terminals.enrolment.est import ca_certificates, simple_reenroll
from terminals.enrolment.views import certificate_status, enrol_terminal, revocation_lists


def go_to_overview(request: HttpRequest) -> HttpResponse:
    return redirect("admin:index")


@csrf_exempt  # or a POST would be told of a cookie instead of the wrong address
def nothing_in_the_api(request: HttpRequest) -> HttpResponse:
    """Whoever calls the API reads problems, not pages."""
    detail = gettext("the API has no %(path)s; GET /api/v1/ lists what there is") % {"path": request.path}
    problem = {"type": "about:blank", "title": gettext("Not found"), "status": 404, "detail": detail}
    return JsonResponse(problem, status=404, content_type="application/problem+json")


def favicon(request: HttpRequest) -> HttpResponse:
    return redirect(static("fleet/favicon.svg"))


def search_menu(request: HttpRequest) -> HttpResponse:
    """Stands before the theme's own search, which takes any page for a number."""
    page = request.GET.get("page", "1")
    if not (page.isascii() and page.isdigit() and len(page) < 6):
        return HttpResponseBadRequest()
    return admin.site.search(request)  # type: ignore[attr-defined,no-any-return]


urlpatterns = [
    path("", go_to_overview),
    path("favicon.ico", favicon),
    path("healthz", readiness.healthz),
    path("readyz", readiness.readyz),
    path("metrics", readiness.metrics),
    path("enrol", enrol_terminal, name="enrol"),
    path(".well-known/est/cacerts", ca_certificates, name="est-cacerts"),
    path(".well-known/est/simplereenroll", simple_reenroll, name="est-simplereenroll"),
    path("pki/device-ca.crl.pem", revocation_lists, name="revocation-lists"),
    path("pki/ocsp", certificate_status),  # a POST follows no redirect
    path("pki/ocsp/", certificate_status, name="ocsp"),
    path("pki/ocsp/<path:asked>", certificate_status, name="ocsp-get"),
    path("artifacts/<str:token>", download_artifact, name="artifact"),
    path("artifacts/<str:token>/<path:target>", download_artifact, name="artifact-target"),
    *ddi_addresses,
    path("tuf/<str:name>", repository_document, name="repository-document"),
    path("admin/overview/panel/", views.overview_panel, name="overview-panel"),
    path("admin/terminals/<int:pk>/", views.terminal_page, name="terminal-page"),
    path("admin/terminals/<int:pk>/panel/", views.terminal_panel, name="terminal-panel"),
    path("admin/terminals/<int:pk>/action/", views.terminal_action, name="terminal-action"),
    path("admin/views/save/", list_bar.save, name="view-save"),
    path("admin/views/<int:pk>/delete/", list_bar.delete, name="view-delete"),
    path("admin/software/", software.software_page, name="software"),
    path("admin/releases/<int:pk>/", releases.release_page, name="release"),
    path("admin/releases/<int:pk>/act/", releases.release_action, name="release-action"),
    path("admin/campaigns/new/", campaigns.new_page, name="campaign-new"),
    path("admin/campaigns/<int:pk>/", campaigns.campaign_page, name="campaign"),
    path("admin/campaigns/<int:pk>/panel/", campaigns.campaign_panel, name="campaign-panel"),
    path("admin/campaigns/<int:pk>/act/", campaigns.campaign_action, name="campaign-action"),
    path("admin/bulk/new/", bulk.bulk_page, name="bulk"),
    path("admin/bulk/jobs/<int:pk>/", bulk.job_page, name="bulk-job"),
    path("admin/bulk/jobs/<int:pk>/panel/", bulk.job_panel, name="bulk-job-panel"),
    path("admin/bulk/jobs/<int:pk>/cancel/", bulk.job_cancel, name="bulk-job-cancel"),
    path("admin/codes/", enrolling.code_sheet, name="code-sheet"),
    path("admin/claim/", enrolling.claim_page, name="claim"),
    path("admin/claim/<int:pk>/progress/", enrolling.claim_progress, name="claim-progress"),
    path("admin/waiting/<int:pk>/", enrolling.waiting_page, name="waiting-device"),
    path("admin/import/new/", importing.import_page, name="import"),
    path("admin/import/example/", importing.import_example, name="import-example"),
    path("admin/import/jobs/<int:pk>/", importing.job_page, name="import-job"),
    path("admin/import/jobs/<int:pk>/panel/", importing.job_panel, name="import-job-panel"),
    path("admin/import/jobs/<int:pk>/report/", importing.job_report, name="import-job-report"),
    path("admin/import/jobs/<int:pk>/action/", importing.job_action, name="import-job-action"),
    path("admin/find/", finding.find_page, name="find"),
    path("admin/cases/<int:pk>/", cases.case_page, name="case"),
    path("admin/cases/<int:pk>/action/", cases.case_action, name="case-action"),
    path("admin/cases/<int:pk>/letter/", cases.case_letter, name="case-letter"),
    path("admin/cases/<int:pk>/files/<int:note>/", cases.case_file, name="case-file"),
    path("admin/credits/new/", credits.credits_page, name="credits"),
    path("admin/credits/<int:pk>/", credits.file_page, name="credit-file"),
    path("admin/credits/<int:pk>/panel/", credits.file_panel, name="credit-file-panel"),
    path("admin/credits/<int:pk>/withdraw/", credits.file_withdraw, name="credit-file-withdraw"),
    path("admin/reports/settlement/", reports.report_page, name="settlement-report"),
    path("admin/reports/close/", reports.close_page, name="close-day"),
    path("admin/reports/closed/<int:pk>/", reports.closed_page, name="day-closed"),
    path("admin/reports/<int:pk>/", reports.job_page, name="report-job"),
    path("admin/reports/<int:pk>/panel/", reports.job_panel, name="report-job-panel"),
    path("admin/reports/<int:pk>/file/", reports.job_file, name="report-job-file"),
    path("admin/risk/", risk.signals_page, name="risk-signals"),
    path("admin/risk/<str:signal>/", risk.rule_page, name="risk-rule"),
    path("admin/settlement/at/<str:kind>/<int:pk>/", plan_levels.level_page, name="settlement-level"),
    path("admin/parameters/", parameters.parameters_page, name="parameters"),
    path("admin/parameters/at/<str:kind>/<int:pk>/", parameters.level_page, name="parameters-level"),
    path("admin/preferences/", preferences_page, name="preferences"),
    path("admin/api/", api_reference, name="api-reference"),
    path("admin/password_change/", admin.site.admin_view(change_own_password)),
    path("admin/account/", include(account_urls)),
    path("admin/search/", admin.site.admin_view(search_menu)),
    path("admin/", admin.site.urls),
    path("api/v1/", include(router.urls)),
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="schema"),
    re_path("^api/", nothing_in_the_api),
]
