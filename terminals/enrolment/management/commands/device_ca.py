"""`manage.py device_ca`: the CA of terminals' certificates, whose key never leaves the vault (docs/operations.md)."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from cryptography import x509
from django.core.management.base import BaseCommand, CommandError

from terminals.common.errors import Refusal
from terminals.enrolment import authority
from terminals.enrolment.models import DeviceCA

ACTOR = "manage.py device_ca"


class Command(BaseCommand):
    help = "Make a device CA's key, bring the certificate that the root signed for it, or see which CAs there are."

    def add_arguments(self, parser: ArgumentParser) -> None:
        steps = parser.add_subparsers(dest="step", required=True)
        request = steps.add_parser("request", help="make a key in the vault and print the request for the root to sign")
        request.add_argument("name", help="the CA's common name")
        steps.add_parser("install", help="let the CA of this certificate issue from now on").add_argument("certificate")
        adopt = steps.add_parser("adopt", help="take the key of a CA that there is already into the vault")
        adopt.add_argument("--key", required=True, help="PEM, without a passphrase; remove the file afterwards")
        adopt.add_argument("--certificate", required=True)
        steps.add_parser("status", help="list the CAs and until when they hold")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['step']}")(options)
        except (Refusal, OSError, ValueError) as error:
            raise CommandError(str(error)) from None

    def _request(self, options: dict[str, Any]) -> None:
        self.stdout.write(authority.begin(name=options["name"], actor=ACTOR).request_pem.strip())

    def _install(self, options: dict[str, Any]) -> None:
        self._tell(authority.install(Path(options["certificate"]).read_text(), actor=ACTOR))

    def _adopt(self, options: dict[str, Any]) -> None:
        key, certificate = Path(options["key"]).read_bytes(), Path(options["certificate"]).read_text()
        self._tell(authority.adopt(key, certificate, actor=ACTOR))

    def _status(self, options: dict[str, Any]) -> None:
        for ca in DeviceCA.objects.order_by("pk"):
            self._tell(ca)

    def _tell(self, ca: DeviceCA) -> None:
        if not ca.certificate_pem:
            self.stdout.write(f"{ca.key_id}: waits for the root to sign its request")
            return
        name = x509.load_pem_x509_certificate(ca.certificate_pem.encode()).subject.rfc4514_string()
        does = "issues" if ca.issues else "lists what it revoked"
        self.stdout.write(f"{ca.key_id}: {name}, {does}, holds until {ca.not_after:%Y-%m-%d}")
