"""`manage.py count_tallies`: count the overview's numbers anew."""

from typing import Any

from django.core.management.base import BaseCommand

from fleet.pages import tallies


class Command(BaseCommand):
    help = "Count the overview's numbers anew, after rows were loaded past the database's triggers. Writers wait meanwhile."

    def handle(self, *args: Any, **options: Any) -> None:
        tallies.count_anew()
        self.stdout.write("The overview's numbers are counted anew.")
