"""`manage.py run_device_link`: one process of the device link; many may run side by side, each with its own name."""

import signal
import socket
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from terminals.link.process import LinkProcess


class Command(BaseCommand):
    help = "Take messages from terminals and relay commands to them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--name",
            default=socket.gethostname(),
            help="keeps its unacknowledged messages at the broker; unique among the links, the same at each start",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # A link repeats a handful of statements for ever, so PostgreSQL shall plan each of them once.
        connection.settings_dict["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 3}
        link = LinkProcess(options["name"])
        signal.signal(signal.SIGTERM, link.stop)
        signal.signal(signal.SIGINT, link.stop)
        link.run()
