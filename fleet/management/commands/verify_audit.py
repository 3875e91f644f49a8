"""`manage.py verify_audit`: walk the audit chain and say whether it is whole."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from terminals.audit import first_broken_entry
from terminals.models import AuditEntry


class Command(BaseCommand):
    help = "Check every entry of the audit chain against the one before it."

    def handle(self, *args: Any, **options: Any) -> None:
        broken = first_broken_entry()
        if broken is not None:
            raise CommandError(f"the chain breaks at entry {broken.pk} ({broken}, {broken.at.isoformat()})")
        last = AuditEntry.objects.first()
        self.stdout.write(f"The audit chain is whole; its last hash is {last.hash if last else 'none'}.")
