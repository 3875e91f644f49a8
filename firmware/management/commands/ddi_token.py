"""`manage.py ddi_token SERIAL`: a target token for a device that speaks hawkBit's DDI."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from firmware.ddi.services import issue_token
from terminals.common.errors import Refusal
from terminals.estate.models import Terminal


class Command(BaseCommand):
    help = "Issue a target token (hawkBit DDI) for a registered terminal; an earlier one loses its force."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("serial")

    def handle(self, *args: Any, **options: Any) -> None:
        terminal = Terminal.objects.filter(serial=options["serial"]).first()
        if terminal is None:
            raise CommandError(f"no terminal has the serial number {options['serial']}")
        try:
            token = issue_token(terminal=terminal, actor="manage.py ddi_token")
        except Refusal as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(f"controller id {terminal.device_id}, target token (shown only now) {token}")
