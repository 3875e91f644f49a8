"""Every address that the server answers on."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView

from firmware.downloads import download_artifact
from fleet import readiness
from fleet.accounts import change_own_password
from fleet.api import router
from fleet.pages import views
from fleet.pages.preferences import preferences_page
from fleet.pages.reference import api_reference
from terminals.enrolment.views import enrol_terminal


def go_to_overview(request: HttpRequest) -> HttpResponse:
    return redirect("admin:index")


def nothing_in_the_api(request: HttpRequest) -> HttpResponse:
    """Whoever calls the API reads problems, not pages."""
    detail = f"the API has no {request.path}; GET /api/v1/ lists what there is"
    problem = {"type": "about:blank", "title": "Not found", "status": 404, "detail": detail}
    return JsonResponse(problem, status=404, content_type="application/problem+json")


def favicon(request: HttpRequest) -> HttpResponse:
    return redirect(static("fleet/favicon.svg"))


urlpatterns = [
    path("", go_to_overview),
    path("favicon.ico", favicon),
    path("healthz", readiness.healthz),
    path("readyz", readiness.readyz),
    path("metrics", readiness.metrics),
    path("enrol", enrol_terminal, name="enrol"),
    path("artifacts/<str:token>", download_artifact, name="artifact"),
    path("admin/overview/panel/", views.overview_panel, name="overview-panel"),
    path("admin/terminals/<int:pk>/", views.terminal_page, name="terminal-page"),
    path("admin/terminals/<int:pk>/panel/", views.terminal_panel, name="terminal-panel"),
    path("admin/terminals/<int:pk>/action/", views.terminal_action, name="terminal-action"),
    path("admin/preferences/", preferences_page, name="preferences"),
    path("admin/api/", api_reference, name="api-reference"),
    path("admin/password_change/", admin.site.admin_view(change_own_password)),
    path("admin/", admin.site.urls),
    path("api/v1/", include(router.urls)),
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="schema"),
    re_path("^api/", nothing_in_the_api),
]
