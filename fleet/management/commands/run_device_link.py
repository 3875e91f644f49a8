"""`manage.py run_device_link`: one process of the device link. Any number run side by side and share out the fleet."""

import gc
import signal
import socket
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from terminals.common.sql import go_direct
from terminals.common.tracing import traces
from terminals.link.process import LinkProcess


class Command(BaseCommand):
    help = "Take messages from terminals and relay commands to them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--name",
            default=socket.gethostname(),
            help="by which /readyz and logs know it; best unique among the links",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        go_direct()
        traces.start("link")
        # A link repeats a handful of statements for ever, so PostgreSQL shall plan each of them once.
        connection.settings_dict["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 3}
        # Messages come and go by the thousand and are in no cycles: looking for those was a tenth of the work.
        gc.freeze()
        gc.set_threshold(100_000, 20, 20)
        link = LinkProcess(options["name"])
        signal.signal(signal.SIGTERM, link.stop)
        signal.signal(signal.SIGINT, link.stop)
        link.run()
