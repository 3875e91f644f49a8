"""What deploy/ ships, as far as a local installation and the tests run it from there."""

import sys
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"


def follow_revocations(web_url: str, lists: Path, *command: str) -> list[str]:
    """Return the command line of what keeps a broker's lists of revoked certificates new: it writes them into `lists`, then runs
    the command that makes the broker read them."""
    script = str(DEPLOY / "follow_revocations.py")
    return [sys.executable, script, f"{web_url}/pki/device-ca.crl.pem", str(lists), "--", *command]
