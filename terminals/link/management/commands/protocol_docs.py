"""`manage.py protocol_docs`: write docs/protocol from the message types, or check that it is what they say."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from terminals.link.protocol.documents import documents


class Command(BaseCommand):
    help = "Write the protocol's documents; --check only tells whether they are up to date."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is not up to date")

    def handle(self, *args: Any, **options: Any) -> None:
        folder = settings.BASE_DIR / "docs" / "protocol"
        made = documents()
        kept = {str(path.relative_to(folder)) for path in folder.glob("schemas/*.json")}
        stale = [name for name, text in made.items() if not _holds(folder / name, text)] + sorted(kept - made.keys())
        if options["check"]:
            if stale:
                raise CommandError(f"docs/protocol is out of date ({', '.join(stale)}); run: manage.py protocol_docs")
            return
        for name, text in made.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        for name in kept - made.keys():
            (folder / name).unlink()


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text
