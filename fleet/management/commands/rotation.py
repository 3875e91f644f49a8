"""`manage.py rotation`: what remains to be done while one of the installation's secrets replaces another."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from firmware.services import resign_releases
from terminals.common.audit import services as audit
from terminals.enrolment import trust
from terminals.keys import vault
from terminals.keys.services import reseal_keys

ACTOR = "manage.py rotation"


class Command(BaseCommand):
    help = "Replace a secret step by step (docs/operations.md, Rotation): see how far it is, seal or sign anew."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("step", choices=["status", "reseal-keys", "resign-releases"])

    def handle(self, *args: Any, **options: Any) -> None:
        {"status": self._status, "reseal-keys": self._reseal, "resign-releases": self._resign}[options["step"]]()

    def _status(self) -> None:
        held, lacking = trust.progress()
        self.stdout.write(f"{held} terminals hold the present trust anchors, {lacking} do not yet.")

    def _reseal(self) -> None:
        resealed = reseal_keys()
        with transaction.atomic():
            subject = f"vault:{vault.current_head().hex()}"
            audit.record(actor=ACTOR, action="vault.reseal", subject=subject, detail={"keys": resealed})
        self.stdout.write(f"{resealed} keys sealed anew. No key lies under an earlier master key: its line may go.")

    def _resign(self) -> None:
        signed = resign_releases(actor=ACTOR)
        self.stdout.write(f"{signed} releases signed anew. The earlier release key may leave the trusted ones.")
