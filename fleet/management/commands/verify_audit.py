"""`manage.py verify_audit`: walk the audit chain and say whether it is whole."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from terminals.common.audit import anchors, chain
from terminals.common.errors import Refusal


class Command(BaseCommand):
    help = "Check every audit entry against the one before it, and the chain against its anchors."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--expect", metavar="HASH", help="the hash that you noted earlier; needs --count")
        parser.add_argument("--count", type=int, metavar="N", help="how many entries were sealed when you noted it")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["expect"]) != bool(options["count"]):
            raise CommandError("--expect and --count belong together: the hash, and how many entries were sealed then")
        try:
            expected = anchors.read_anchors()
        except Refusal as refusal:
            raise CommandError(refusal.detail) from None
        if options["count"] and expected.setdefault(options["count"], options["expect"]) != options["expect"]:
            raise CommandError("the anchor file knows another hash for that count: one of the two was forged")
        report = chain.verify(expected)
        if report.broken:
            raise CommandError(f"the audit chain is broken: {report.broken}")
        waiting = f" {report.unsealed} not sealed yet." if report.unsealed else ""
        self.stdout.write(f"The audit chain is whole: {report.sealed} entries, last hash {report.last_hash}.{waiting}")
