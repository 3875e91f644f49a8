"""Bringing a credit file and taking it back; the work itself is done in the background (reading.py, matching.py)."""

from collections.abc import Callable
from typing import Any, BinaryIO

from django.db import IntegrityError, transaction

from terminals.common import vault
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.transitions import move
from terminals.settlement.credits import store
from terminals.settlement.credits.accounts import bound_to as account_bound_to
from terminals.settlement.credits.models import CreditAccount, CreditChunk, CreditFile, CreditProfile
from terminals.settlement.credits.rules import FileState, FileTransition

BRING = "settlement.add_creditfile"  # what bringing a file needs
WITHDRAW = "settlement.delete_creditfile"  # what taking one back needs
LONGEST_NAME = 200


def refuse_moved_profile(present: CreditProfile, *, organisation_id: int | None, file_format: str) -> None:
    """Raise Refusal where a profile with files would become another organisation's or another format: what they told would be
    held against other terminals, or could not be read again."""
    moved = (present.organisation_id, present.format) != (organisation_id, file_format)
    if moved and present.files.exists():
        raise Refusal("in_use", "files were brought with this profile: make another one instead")


@transaction.atomic
def bring(*, profile: CreditProfile, file: BinaryIO, name: str, actor: str) -> CreditFile:
    """Put a file aside to be read. Raises Refusal for one that is empty, too large, or was brought before with this profile."""
    digest, size = store.digest_of(file)
    shown = "".join(c for c in name if c.isprintable() and c not in '/\\"')[-LONGEST_NAME:]
    try:
        with transaction.atomic():
            job = CreditFile.objects.create(
                profile=profile,
                file_name=shown,
                sha256=digest,
                size_bytes=size,
                settings=profile.settings,
                brought_by=actor,
            )
    except IntegrityError:
        over = [FileState.FAILED, FileState.WITHDRAWN]
        known = CreditFile.objects.filter(profile=profile, sha256=digest).exclude(state__in=over).first()
        raise Refusal(
            "known_file",
            "this very file was brought before: it is file %(file)s, %(state)s",
            file=known.pk if known else "",
            state=known.state if known else "",
        ) from None
    store.keep(job, file)
    detail = {"file": shown, "sha256": digest, "bytes": size, "profile": profile.pk}
    audit.record(actor=actor, action="creditfile.bring", subject=subject_of(job), detail=detail)
    return job


@transaction.atomic
def withdraw(*, job: CreditFile, actor: str) -> None:
    """Take a file back: none of its entries counts any more, and it may be brought again. Raises Refusal unless it is done."""
    if not move(CreditFile.objects.filter(pk=job.pk), FileTransition.withdraw, finished_at=None, withdrawn_by=actor):
        raise Refusal("not_done", "only a file that is done can be taken back")
    detail: dict[str, Any] = {"sha256": job.sha256, "entries": job.entry_count}
    audit.record(actor=actor, action="creditfile.withdraw", subject=subject_of(job), detail=detail)
    job.refresh_from_db()


@transaction.atomic
def reseal_credits() -> int:
    """Seal the accounts that files named, and files in work, under the present master key; return how many were not."""
    done = 0
    sealed: list[tuple[Any, str, Callable[[Any], str]]] = [
        (CreditAccount, "sealed_number", lambda row: account_bound_to(row.pk)),
        (CreditChunk, "sealed", lambda row: store.bound_to(row.file_id, row.number)),
    ]
    for model, column, bound_to in sealed:
        for row in model.objects.select_for_update().iterator(chunk_size=50):
            content = bytes(getattr(row, column))
            if not content.startswith(vault.current_head()):
                clear = vault.unseal(content, bound_to=bound_to(row))
                model.objects.filter(pk=row.pk).update(**{column: vault.seal(clear, bound_to=bound_to(row))})
                done += 1
    return done
