"""`manage.py seed_estate --terminals N`: a large estate to try pages and reports on; see fleet/local/estate.py."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from fleet.local.estate import seed_estate
from terminals.common.errors import Refusal


class Command(BaseCommand):
    help = "Plant terminals with sessions, health, software, keys, schedules, batches and runs until there are so many."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--terminals", type=int, required=True, help="how many there shall be, for example 100000")

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        try:
            for planted in seed_estate(options["terminals"]):
                self.stdout.write(f"{planted:,} terminals after {time.monotonic() - began:.0f} s")
        except Refusal as refusal:
            raise CommandError(refusal.detail) from None
        self.stdout.write("Their serials begin with SEED-. They have no certificate: no device can speak for them.")
