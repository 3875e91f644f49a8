"""The custodians of the release repository that `make run` plays: three keys for root and three for targets, in STATE_DIR.

For the demonstration only. An installation that terminals depend on holds its ceremony with keys that never touch the server
(docs/releases.md).
"""

from collections.abc import Iterable
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Root, Targets

from firmware.rules import PLATFORM
from firmware.tuf import documents, services
from firmware.tuf.__main__ import make_key, signer_of
from firmware.tuf.documents import ROOT, TARGETS, Delegation

ACTOR = "demo-custodians"
CUSTODIANS, THRESHOLD = 3, 2


def folder() -> Path:
    return Path(settings.STATE_DIR) / "secrets" / "repository"


@transaction.atomic
def hold_ceremony(platforms: Iterable[str]) -> list[str]:
    """Begin the repository where there is none, delegate the platforms that it lacks, renew what is late; return what was done.
    A repository that others began is left alone."""
    now = timezone.now()
    root_signers, targets_signers = (_signers(role) for role in (ROOT, TARGETS))
    standing = {one.role: one for one in services.documents_standing(now)}
    store = services.open_store()
    if ROOT in standing and not {one.public_key.keyid for one in root_signers} & {*store.root().roles[ROOT].keyids}:
        return []  # it has custodians of its own
    made: list[Metadata[Root] | Metadata[Targets]] = []
    if ROOT not in standing:
        keys = ([one.public_key for one in signers] for signers in (root_signers, targets_signers))
        root, targets = keys
        online = services.online_key()
        made.append(documents.first_root(root=root, targets=targets, online=online, threshold=THRESHOLD, now=now))
    elif standing[ROOT].late:
        made.append(documents.next_root(store.open(ROOT), now=now))
    present = store.open(TARGETS) if TARGETS in standing else None
    known = documents.delegations(present.signed) if present else {}
    wanted = sorted(name for name in {*platforms} - known.keys() if PLATFORM.fullmatch(name))
    lacking = [Delegation(name, [services.platform_key()], 1) for name in wanted]
    if lacking or present is None or standing[TARGETS].late:
        made.append(documents.next_targets(present, delegate=lacking, now=now))
    for document in made:
        for signer in (root_signers if isinstance(document.signed, Root) else targets_signers)[:THRESHOLD]:
            documents.sign(document, signer)
    return services.take_in(map(documents.written, made), actor=ACTOR) if made else []


def _signers(role: str) -> list[Signer]:
    """Return a role's keys; made where they are missing."""
    folder().mkdir(mode=0o700, exist_ok=True)
    paths = [folder() / f"{role}-{number}.pem" for number in range(1, CUSTODIANS + 1)]
    for path in paths:
        if not path.exists():
            make_key(path, passphrase="")
    return [signer_of(str(path), "") for path in paths]
