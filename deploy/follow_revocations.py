#!/usr/bin/env python3
"""Keep a broker's list of revoked certificates as new as the server's: a service on the broker's host, ended by SIGTERM.

    follow_revocations.py URL FILE -- COMMAND...

Asks URL every two seconds (an unchanged list costs a 304), writes FILE whole when it changed, and runs COMMAND, which makes the
broker read it: `systemctl reload mosquitto`, `kill -HUP PID`, or for RabbitMQ hash_revocations.sh. It runs at the start, too,
and again until it has succeeded. Needs Python 3 and nothing else. While the server does not answer, the last list goes on
holding, for a week at most: then the broker lets nobody in.
"""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

SECONDS, COMMAND_SECONDS = 2, 60


def main() -> None:
    try:
        url, name, dashes, *command = sys.argv[1:]
    except ValueError:
        sys.exit(__doc__)
    if dashes != "--" or not command or not url.startswith(("https://", "http://")):
        sys.exit(__doc__)
    path, tag, known, complained = Path(name), "", False, ""
    while True:
        problem = "the list cannot be renewed"
        try:
            answer = ask(url, tag)
            if answer is not None:
                lists, tag = answer
                if not path.exists() or path.read_bytes() != lists:
                    replace(path, lists)
                    say(f"a new list of {len(lists)} bytes")
                    known = False
            if not known:
                problem = "the broker may not know the list"
                subprocess.run(command, check=True, timeout=COMMAND_SECONDS)
                known = True
            complained = ""
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            if problem != complained:
                say(f"{problem}, trying again: {error}")
            tag, complained = "", problem
        time.sleep(SECONDS)


def ask(url: str, tag: str) -> "tuple[bytes, str] | None":
    """Return the list and its tag, or None where it is still the one with this tag."""
    request = urllib.request.Request(url, headers={"If-None-Match": tag})  # noqa: S310 - main looked at it
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            lists = answer.read()
            if not lists.startswith(b"-----BEGIN X509 CRL-----"):
                raise ValueError("the answer is no list of revoked certificates")
            return lists, answer.headers["ETag"] or ""
    except urllib.error.HTTPError as error:
        if error.code == 304:
            return None
        raise


def replace(path: Path, lists: bytes) -> None:
    """A broker that reads it meanwhile sees the old list or the new one, never half of one."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(lists)
    partial.replace(path)


def say(what: str) -> None:
    sys.stdout.write(f"revocations: {what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
