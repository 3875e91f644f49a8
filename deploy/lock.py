"""Write requirements.txt and requirements-dev.txt from pyproject.toml: every package pinned with its hashes.

Pins that stand in the files stay as they are; with `--upgrade` each becomes the newest that pyproject.toml allows.
Each direct dependency keeps the reason that stands behind it in pyproject.toml. Run by `make lock`; needs uv.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIRECT = re.compile(r'^\s*"(?P<name>[A-Za-z0-9_.-]+)[^"]*",\s*#\s*(?P<reason>.+)$')
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)==")


def direct_dependencies() -> dict[str, str]:
    """Return normalised package name -> reason, in pyproject's order."""
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    found = (DIRECT.match(line) for line in lines)
    return {match["name"].lower().replace("_", "-"): match["reason"] for match in found if match}


def lock(target: Path, *options: str) -> None:
    """Resolve for every supported Python and platform, then put each reason above its pin."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "-q", "pyproject.toml", "--universal", "-o", str(target)]
    command += ["--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"]
    command += ["--no-annotate", "--no-header", *options]
    subprocess.run([*command, *sys.argv[1:]], cwd=ROOT, check=True)
    pinned = "".join(line for line in target.read_text().splitlines(keepends=True) if not line.startswith("#"))
    reasons = direct_dependencies()
    out = ["# Written by `make lock` from pyproject.toml. Lines without a reason are needed by those with one."]
    for line in pinned.splitlines():
        match = PINNED.match(line)
        if match and match["name"] in reasons:
            out.append(f"# {reasons[match['name']]}")
        out.append(line)
    target.write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    lock(ROOT / "requirements.txt")
    lock(ROOT / "requirements-dev.txt", "--extra", "dev")
