"""`manage.py tuf`: the server's side of the release repository's ceremonies (docs/releases.md).

Custodians make keys and sign on a machine of their own: `python -m firmware.tuf`.
"""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Root, Targets

from firmware.tuf import documents, services
from firmware.tuf.documents import ROOT, TARGETS, Delegation, role_of
from terminals.common.errors import Refusal

ACTOR = "manage.py tuf"


class Command(BaseCommand):
    help = (
        "The release repository (TUF): draft documents for its custodians, publish what they signed, see how it stands."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        steps = parser.add_subparsers(dest="step", required=True)
        steps.add_parser("status", help="versions, ends, and what waits for custodians")
        steps.add_parser("renew", help="make anew what the server signs, where it is due")
        publish = steps.add_parser("publish", help="publish signed documents, all or none")
        publish.add_argument("document", nargs="+")
        root = steps.add_parser("draft-root", help="the next root document; without keys the same for another year")
        root.add_argument("--root-key", action="append", default=[], help="PEM, public; once for each custodian")
        root.add_argument("--targets-key", action="append", default=[], help="PEM, public; once for each custodian")
        root.add_argument("--threshold", type=int, help="how many of them must sign; 2 at first")
        root.add_argument("--online-key", help="PEM, public: what TUF_ONLINE_KEY_FILE will hold when this is published")
        targets = steps.add_parser(
            "draft-targets", help="the next top targets document: who lists which platform's releases"
        )
        targets.add_argument(
            "--platform", action="append", default=[], help="delegate it: to --key, else to this server"
        )
        targets.add_argument("--key", action="append", default=[], help="PEM, public; once for each custodian")
        targets.add_argument("--threshold", type=int, default=1)
        targets.add_argument("--withdraw", action="append", default=[], help="a platform that lists nothing any more")
        platform = steps.add_parser("draft-platform", help="the next list of a platform's approved releases")
        platform.add_argument("platform")
        for one in (root, targets, platform):
            one.add_argument("--out", default=".", help="the folder to write to")

    def handle(self, *args: Any, **options: Any) -> None:
        step = getattr(self, f"_{options['step'].replace('-', '_')}")
        try:
            step(Namespace(**options))
        except (Refusal, OSError) as error:
            raise CommandError(str(error)) from None

    def _status(self, given: Namespace) -> None:
        now = timezone.now()
        standing = services.documents_standing(now)
        if not standing:
            self.stdout.write("There is no release repository yet: hold the ceremony of docs/releases.md.")
        for one in standing:
            late = "  LATE: who signs it must do so now" if one.late else ""
            self.stdout.write(f"{one.role}  version {one.version}  until {one.expires_at:%Y-%m-%d %H:%M} UTC{late}")
        unlisted, still_listed = services.waiting()
        if unlisted:
            self.stdout.write(f"{unlisted} approved releases wait for the custodians of their platform to list them.")
        if still_listed:
            self.stdout.write(
                f"{still_listed} withdrawn releases are listed until their custodians sign the next list."
            )
        if any(one.late for one in standing):
            sys.exit(1)

    def _renew(self, given: Namespace) -> None:
        renewed = services.renew(timezone.now())
        self.stdout.write(f"Made anew: {', '.join(renewed)}" if renewed else "Nothing is due.")

    def _publish(self, given: Namespace) -> None:
        taken = services.take_in([Path(path).read_bytes() for path in given.document], actor=ACTOR)
        self.stdout.write(f"Published: {', '.join(taken)}")

    def _draft_root(self, given: Namespace) -> None:
        root, targets = (_keys(paths) for paths in (given.root_key, given.targets_key))
        now, present = timezone.now(), services.present(ROOT)
        if present is None:
            online = services.online_key()
            document = documents.first_root(
                root=root, targets=targets, online=online, threshold=given.threshold or 2, now=now
            )
        else:
            new_online = _keys([given.online_key])[0] if given.online_key else None
            document = documents.next_root(
                present, root=root, targets=targets, online=new_online, threshold=given.threshold, now=now
            )
        self._write(given.out, ROOT, document)

    def _draft_targets(self, given: Namespace) -> None:
        keys = _keys(given.key) or ([services.platform_key()] if given.platform else [])
        delegate = [Delegation(platform, keys, given.threshold) for platform in given.platform]
        document = documents.next_targets(
            services.present(TARGETS), delegate=delegate, withdraw=given.withdraw, now=timezone.now()
        )
        self._write(given.out, TARGETS, document)

    def _draft_platform(self, given: Namespace) -> None:
        self._write(given.out, role_of(given.platform), services.draft_platform(given.platform))

    def _write(self, out: str, role: str, document: Metadata[Root] | Metadata[Targets]) -> None:
        path = Path(out) / f"{document.signed.version}.{role}.json"
        path.write_bytes(documents.written(document))
        self.stdout.write(f"{path}: let its custodians sign it (python -m firmware.tuf sign), then publish it")


def _keys(paths: list[str]) -> list[Key]:
    return [documents.public_key(Path(path).read_bytes()) for path in paths]
