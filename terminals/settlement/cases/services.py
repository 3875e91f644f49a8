"""What people do with cases: take them, write and bring to them, close them, agree to that, open them again."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.card_data import has_card_data
from terminals.common.errors import Refusal
from terminals.common.facts.kinds import FactBody
from terminals.common.facts.services import record_facts
from terminals.common.scope import holds
from terminals.common.states import Transition
from terminals.settlement.cases.facts import CaseClosed, CaseReopened
from terminals.settlement.cases.models import Case, CaseNote
from terminals.settlement.cases.rules import RESOLUTIONS, CaseState, CaseTransition, needs_four_eyes

WORK = "settlement.change_case"  # what taking a case, writing to it, closing and reopening it needs
APPROVE = "settlement.approve_case"  # what agreeing to the end of a large one needs
MOST_TEXT = 4000
MOST_BYTES = 5 * 1024 * 1024
# What may be brought: it is only ever handed out as a download.
TYPES = ("application/pdf", "image/png", "image/jpeg", "text/plain", "text/csv")


def _hold(case: Case) -> Case:
    return Case.objects.select_for_update(of=("self",)).get(pk=case.pk)


def _decided(case: Case) -> Refusal:
    return Refusal("decided", "case %(case)s is %(state)s by now; look at it first", case=case.pk, state=case.state)


@transaction.atomic
def assign(*, case: Case, owner: Any, actor: str) -> None:
    """Give a case to somebody who may work on it, or to nobody. Raises Refusal for one who may not."""
    if owner is not None and not holds(owner, WORK, case):
        raise Refusal("bad_owner", "%(owner)s may not work on this case", owner=owner.get_username())
    Case.objects.filter(pk=case.pk).update(owner=owner)
    detail = {"owner": owner.get_username() if owner else ""}
    audit.record(actor=actor, action="case.assign", subject=subject_of(case), detail=detail)


@transaction.atomic
def write(
    *, case: Case, text: str, actor: str, file_name: str = "", content: bytes = b"", file_type: str = ""
) -> CaseNote:
    """Add a note, a file, or both. Raises Refusal for nothing, for too much, and for card numbers."""
    text = text.strip()
    if not text and not content:
        raise Refusal("empty_note", "write something, or bring a file")
    if len(text) > MOST_TEXT or len(content) > MOST_BYTES:
        raise Refusal("too_large", "a note has at most %(text)s characters, a file 5 MB", text=MOST_TEXT)
    if content and file_type not in TYPES:
        raise Refusal("unknown_format", "bring a PDF, PNG, JPEG, text or CSV file")
    if has_card_data(f" {text} ".encode()) or (file_type.startswith("text/") and has_card_data(content)):
        raise Refusal(
            "card_data", "it holds what looks like a full card number or a track; at most the last four digits stay"
        )
    name = "".join(c for c in file_name if c.isprintable() and c not in '/\\"')[-200:]
    note = CaseNote.objects.create(
        case=case,
        written_by=actor,
        text=text,
        file_name=name if content else "",
        file_type=file_type if content else "",
        file_size=len(content),
        content=content or None,
    )
    detail = {"note": note.pk, "file": note.file_name, "bytes": note.file_size}
    audit.record(actor=actor, action="case.write", subject=subject_of(case), detail=detail)
    return note


@transaction.atomic
def close(*, case: Case, resolution: str, note: str, actor: str) -> Case:
    """Close a case for a reason; from an amount on somebody else must agree before it is closed. Raises Refusal where it is
    closed already, or no reason is given."""
    if resolution not in RESOLUTIONS:
        raise Refusal("bad_resolution", "choose why it is closed: one of %(known)s", known=RESOLUTIONS)
    held = _hold(case)
    if held.state != CaseState.OPEN:
        raise _decided(held)
    if note.strip():
        write(case=held, text=note, actor=actor)
    held.resolution, held.resolved_by, held.resolved_at = resolution, actor, timezone.now()
    held.needs_four_eyes, held.approved_by = needs_four_eyes(held.amount_minor, held.currency), ""
    if held.needs_four_eyes:
        held.state = CaseTransition.propose.after(held.state)
    else:
        _end(held)
    held.save()
    _tell(held, actor, "close" if not held.needs_four_eyes else "propose")
    return held


@transaction.atomic
def agree(*, case: Case, actor: str) -> Case:
    """Agree to the end of a large case. Raises Refusal for whoever closed it, and where it does not wait for that."""
    held = _hold(case)
    if held.state != CaseState.APPROVING:
        raise _decided(held)
    if held.resolved_by == actor:
        raise Refusal("four_eyes", "whoever closed a case does not agree to it; ask somebody else")
    held.approved_by = actor
    _end(held)
    held.save()
    _tell(held, actor, "agree")
    return held


@transaction.atomic
def send_back(*, case: Case, note: str, actor: str) -> Case:
    """Do not agree: the case is open again. Raises Refusal without a note that says why, and where it does not wait."""
    held = _hold(case)
    if held.state != CaseState.APPROVING:
        raise _decided(held)
    write(case=held, text=note, actor=actor)
    return _opened_again(held, CaseTransition.send_back, actor)


@transaction.atomic
def take_back(*, case: Case, actor: str) -> Case:
    """Whoever closed a large case thinks better of it before somebody agrees. Raises Refusal for anybody else, and where it
    does not wait."""
    held = _hold(case)
    if held.state != CaseState.APPROVING:
        raise _decided(held)
    if held.resolved_by != actor:
        raise Refusal("not_yours", "only %(who)s, who closed it, takes that back", who=held.resolved_by)
    return _opened_again(held, CaseTransition.take_back, actor)


def _opened_again(held: Case, how: Transition[CaseState], actor: str) -> Case:
    held.state = how.after(held.state)
    held.resolution, held.resolved_by, held.resolved_at, held.needs_four_eyes = "", "", None, False
    held.save()
    _tell(held, actor, how.name)
    return held


@transaction.atomic
def reopen(*, case: Case, note: str, actor: str) -> Case:
    """Open a closed case again, with its differences. Raises Refusal without a note that says why, where it is open, and where
    another case of the same kind is open by now."""
    held = _hold(case)
    if held.state not in (CaseState.RESOLVED, CaseState.EXPLAINED):
        raise _decided(held)
    same = {
        "terminal": held.terminal,
        "organisation": held.organisation,
        "subject": held.subject,
        "currency": held.currency,
    }
    if other := Case.objects.filter(**same, closed_at=None).first():
        raise Refusal("another_case", "case %(case)s about the same is open: go on with that one", case=other.pk)
    write(case=held, text=note, actor=actor)
    held.state, held.closed_at = CaseTransition.reopen.after(held.state), None
    held.resolution, held.resolved_by, held.resolved_at, held.approved_by = "", "", None, ""
    held.needs_four_eyes = False
    held.save()
    held.differences.filter(explained_at=None).update(is_open=True)
    audit.record(actor=actor, action="case.reopen", subject=subject_of(held), detail={})
    _fact(held, CaseReopened(held.pk, actor))
    return held


def close_many(*, cases: Sequence[Case], resolution: str, note: str, actor: str) -> tuple[int, int]:
    """Close cases alike; return how many are closed, and how many wait for somebody else's agreement. Those that are closed
    already are left alone."""
    closed = waiting = 0
    for case in cases:
        try:
            done = close(case=case, resolution=resolution, note=note, actor=actor)
        except Refusal as refusal:
            if refusal.reason != "decided":
                raise
            continue
        closed, waiting = closed + (not done.needs_four_eyes), waiting + done.needs_four_eyes
    return closed, waiting


def _end(case: Case) -> None:
    case.state, case.closed_at = CaseTransition.resolve.after(case.state), timezone.now()
    case.differences.filter(is_open=True).update(is_open=False)


def _tell(case: Case, actor: str, verb: str) -> None:
    detail = {"resolution": case.resolution, "amount_minor": case.amount_minor, "currency": case.currency}
    audit.record(actor=actor, action=f"case.{verb}", subject=subject_of(case), detail=detail)
    if case.state == CaseState.RESOLVED:
        _fact(case, CaseClosed(case.pk, case.resolution, case.resolved_by, case.approved_by))


def _fact(case: Case, fact: FactBody) -> None:
    if case.terminal_id is not None:
        record_facts([(case.terminal_id, fact)])
