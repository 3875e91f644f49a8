"""`manage.py rotation`: what remains to be done while one of the installation's secrets replaces another."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from fleet.access.adapters import reseal_factors
from terminals.enrolment import authority, trust
from terminals.keys.services import keys_under_earlier_masters, reseal_keys
from terminals.parameters.sending import reseal_secrets
from terminals.settlement.accounts.services import reseal_accounts
from terminals.settlement.credits.services import reseal_credits

ACTOR = "manage.py rotation"


class Command(BaseCommand):
    help = "Replace a secret step by step (docs/operations.md, Rotation): see how far it is, seal anew."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("step", choices=["status", "reseal-keys"])

    def handle(self, *args: Any, **options: Any) -> None:
        {"status": self._status, "reseal-keys": self._reseal}[options["step"]]()

    def _status(self) -> None:
        held, lacking, stale = trust.progress()
        self.stdout.write(f"{held} terminals hold the present trust anchors, {lacking} do not yet.")
        self.stdout.write(f"{stale} open commands are signed by another key than the present one.")

    def _reseal(self) -> None:
        resealed, unopened = reseal_keys(actor=ACTOR)
        self.stdout.write(f"{resealed} keys sealed anew.")
        self.stdout.write(f"{reseal_secrets()} sets of parameters and {reseal_factors()} second factors sealed anew.")
        self.stdout.write(f"{authority.reseal()} keys of device CAs sealed anew.")
        self.stdout.write(f"{reseal_accounts()} settlement accounts sealed anew.")
        self.stdout.write(f"{reseal_credits()} accounts and pieces of credit files sealed anew.")
        for name in unopened:
            self.stdout.write(f"{name} does not open: its master key is missing, or it is damaged; it stays as it is.")
        if (left := keys_under_earlier_masters()) == 0:
            self.stdout.write("No key lies under an earlier master key: its line may go.")
        else:
            self.stdout.write(f"{left} keys still lie under an earlier master key: keep its line, and repeat this.")
