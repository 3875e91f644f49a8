"""Cases in the browser: the sides next to each other, who says what, what to press, and a letter to the merchant."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.encoding import iri_to_uri
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from fleet.pages.buttons import Button, press
from fleet.pages.guards import staff_with
from terminals.common.scope import holds, within
from terminals.common.words import choices
from terminals.settlement.cases import services
from terminals.settlement.cases.models import Case, CaseNote, Difference
from terminals.settlement.cases.rules import RESOLUTIONS, CaseState, needs_four_eyes
from terminals.settlement.cases.words import sentence_of
from terminals.settlement.credits.models import BatchCredit
from terminals.settlement.credits.selectors import credits_of
from terminals.settlement.reconciliation.lines import lines_of
from terminals.settlement.reconciliation.rules import Line
from terminals.settlement.transactions.models import Transaction

SEE = "settlement.view_case"
MOST_SHOWN = 50
Form = Any


def case_at(request: HttpRequest, pk: int) -> Case:
    """Return a case that the reader may see, else a 404."""
    rows = Case.objects.select_related("terminal__store__merchant", "organisation", "owner")
    case = within(rows, request.user, SEE).filter(pk=pk).first()
    if case is None:
        raise Http404
    return cast(Case, case)


@staff_with(SEE)
def case_page(request: HttpRequest, pk: int) -> HttpResponse:
    """All of one case."""
    case = case_at(request, pk)
    found = list(case.differences.all()[:MOST_SHOWN])
    may = holds(request.user, services.WORK, case)
    context = admin.site.each_context(request) | {
        "title": case,
        "case": case,
        "differences": [(one, sentence_of(one), suspects_of(one)) for one in found],
        "batches": sides_of(found),
        "notes": case.notes.all(),
        "may_work": may,
        "is_mine": case.resolved_by == request.user.get_username(),
        "may_agree": holds(request.user, services.APPROVE, case) and case.resolved_by != request.user.get_username(),
        "resolutions": choices(RESOLUTIONS),
        "four_eyes": needs_four_eyes(case.amount_minor, case.currency),
        "owners": _owners(case) if may else [],
        "is_open": case.state == CaseState.OPEN,
        "is_approving": case.state == CaseState.APPROVING,
    }
    return render(request, "pages/case.html", context)


def suspects_of(one: Difference) -> list[Transaction]:
    """Return the recorded transactions that are suspected of a difference."""
    if not one.suspects or one.terminal_id is None:
        return []
    return list(Transaction.objects.filter(terminal=one.terminal_id, pk__in=one.suspects).order_by("occurred_at"))


def sides_of(found: list[Difference]) -> list[tuple[int, list[Line], list[BatchCredit]]]:
    """Return the batches that a case is about, with their sides: what was reported and recorded, what was credited."""
    keys = sorted({(one.terminal_id, one.batch_number) for one in found if one.terminal_id and one.batch_number})
    lines, credits = lines_of(keys), credits_of(keys)
    return [(key[1], sorted(lines.get(key, [])), credits.get(key, [])) for key in keys]


def _owners(case: Case) -> list[Any]:
    """Return who may be given the case: staff who may work on it, at most as many as a list shows."""
    staff = get_user_model().objects.filter(is_staff=True, is_active=True).order_by("username")[:MOST_SHOWN]
    return [user for user in staff if holds(user, services.WORK, case)]


@require_POST
@staff_with(SEE)
def case_action(request: HttpRequest, pk: int) -> HttpResponse:
    """Do what a button of the case's page asks for."""
    return press(request, case_at(request, pk), BUTTONS, "case")


def _take(request: HttpRequest, case: Case) -> str:
    services.assign(case=case, owner=request.user, actor=request.user.get_username())
    return _("The case is yours.")


def _assign(request: HttpRequest, case: Case) -> str:
    chosen = request.POST.get("owner", "")
    owner = get_user_model().objects.filter(pk=int(chosen)).first() if chosen.isdecimal() and len(chosen) < 19 else None
    services.assign(case=case, owner=owner, actor=request.user.get_username())
    return _("Done.")


def _write(request: HttpRequest, case: Case) -> str:
    brought: Any = request.FILES.get("file")
    content = brought.read(services.MOST_BYTES + 1) if brought else b""
    services.write(
        case=case,
        text=request.POST.get("text", ""),
        actor=request.user.get_username(),
        file_name=brought.name if brought else "",
        content=content,
        file_type=brought.content_type if brought else "",
    )
    return _("Noted.")


def _close(request: HttpRequest, case: Case) -> str:
    said = {"resolution": request.POST.get("resolution", ""), "note": request.POST.get("text", "")}
    done = services.close(case=case, actor=request.user.get_username(), **said)
    if done.needs_four_eyes:
        return _("It is closed as soon as somebody else agrees.")
    return _("The case is closed.")


def _agree(request: HttpRequest, case: Case) -> str:
    services.agree(case=case, actor=request.user.get_username())
    return _("The case is closed.")


def _send_back(request: HttpRequest, case: Case) -> str:
    services.send_back(case=case, note=request.POST.get("text", ""), actor=request.user.get_username())
    return _("The case is open again.")


def _take_back(request: HttpRequest, case: Case) -> str:
    services.take_back(case=case, actor=request.user.get_username())
    return _("The case is open again.")


def _reopen(request: HttpRequest, case: Case) -> str:
    services.reopen(case=case, note=request.POST.get("text", ""), actor=request.user.get_username())
    return _("The case is open again.")


BUTTONS = {
    "take": Button(services.WORK, _take),
    "assign": Button(services.WORK, _assign),
    "write": Button(services.WORK, _write),
    "close": Button(services.WORK, _close),
    "agree": Button(services.APPROVE, _agree),
    "send_back": Button(services.APPROVE, _send_back),
    "take_back": Button(services.WORK, _take_back),
    "reopen": Button(services.WORK, _reopen),
}


@staff_with(SEE)
def case_file(request: HttpRequest, pk: int, note: int) -> HttpResponse:
    """Hand out what somebody brought to a case, as a download and nothing else."""
    found = CaseNote.objects.filter(case=case_at(request, pk), pk=note).exclude(content=None).first()
    if found is None or found.content is None:
        raise Http404
    answer = HttpResponse(bytes(found.content), content_type="application/octet-stream")
    answer["Content-Disposition"] = "attachment; filename*=UTF-8''" + iri_to_uri(found.file_name).replace("'", "%27")
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


@staff_with(SEE)
def case_letter(request: HttpRequest, pk: int) -> HttpResponse:
    """A letter to the merchant about a case, to print; nothing is sent."""
    case = case_at(request, pk)
    if case.terminal is None:
        raise Http404
    told = [sentence_of(one) for one in case.differences.all()[:MOST_SHOWN]]
    return render(
        request, "pages/case_letter.html", {"case": case, "told": told, "merchant": case.terminal.store.merchant}
    )
