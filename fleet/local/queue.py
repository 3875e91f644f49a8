"""Kombu's filesystem transport, for one machine, with messages that appear whole.

Kombu's own opens a message's file under its name and then fills it; a reader that comes in between finds it empty and ends the
worker (JSONDecodeError, seen with tasks of every second). Here a message is written aside and renamed.
"""

import os
import uuid
from pathlib import Path
from time import monotonic
from typing import Any

from kombu.transport import filesystem
from kombu.utils.encoding import str_to_bytes
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    def _put(self, queue: str, message: Any, **_unused: Any) -> None:  # type: ignore[override]
        name = f"{round(monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        aside = Path(self.data_folder_out) / f".{name}.part"
        aside.write_bytes(str_to_bytes(dumps(message)))
        os.replace(aside, Path(self.data_folder_out) / name)


class Transport(filesystem.Transport):
    Channel = Channel
