"""The ceremony of docs/releases.md, as it is written there."""

import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from firmware.models import RepositoryDocument
from firmware.releases import approve_release
from firmware.tuf import __main__ as custodian
from firmware.tuf import services
from tests.firmware.test_repository import NewTill
from tests.releases import APPROVER, draft

ROOT = Path(__file__).parents[2]


def commands() -> list[list[str]]:
    """Return the document's commands in their order, each block after the one before."""
    blocks = re.findall(r"```ceremony\n(.*?)```", (ROOT / "docs" / "releases.md").read_text(), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def do(command: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a command of the document here; return what it said."""
    said = io.StringIO()
    command = [one for part in command for one in (sorted(map(str, Path().glob(part))) if "*" in part else [part])]
    if command[0] == "manage.py":
        call_command(*command[1:], stdout=said)
        return said.getvalue()
    monkeypatch.setattr(sys, "argv", command[2:])
    monkeypatch.setattr(sys, "stdout", said)
    assert custodian.main() == 0
    return said.getvalue()


def test_the_ceremony_is_held_as_it_is_written(
    db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_till: NewTill
) -> None:
    monkeypatch.chdir(tmp_path)
    built = draft("1.0.0")
    steps = commands()
    published = steps.index(["manage.py", "tuf", "status"])
    for command in steps[: published + 1]:
        said = do(command, monkeypatch)
    assert "root  version 1  until" in said
    assert "platform.linux-arm64  version" in said
    release = approve_release(release=built, actor=APPROVER, sha256=built.sha256)
    till = new_till(services.root_document())
    assert till.fetch(release) == b"software 1.0.0"
    for command in steps[published + 1 :]:
        said = do(command, monkeypatch)
    assert "root 2, targets 2, platform.linux-arm64" in said
    assert till.fetch(release) == b"software 1.0.0"
    later = draft("1.1.0")
    assert approve_release(release=later, actor=APPROVER, sha256=later.sha256).listed_at is None


def test_the_document_has_both_sides() -> None:
    steps = commands()
    assert len(steps) > 20
    assert {command[0] for command in steps} == {"python", "manage.py"}


def test_a_custodian_needs_no_settings_and_sees_what_he_signs(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "firmware.tuf", *arguments]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    (tmp_path / "word").write_text("a passphrase\n")
    made = run("key", "ann.pem", "--passphrase-file", "word")
    assert (made.returncode, made.stdout) == (0, "ann.pub.pem goes into the root document\n")
    assert "ENCRYPTED PRIVATE KEY" in (tmp_path / "ann.pem").read_text()
    assert (tmp_path / "ann.pem").stat().st_mode & 0o077 == 0
    again = run("key", "ann.pem")
    assert (again.returncode, "exists already" in again.stderr) == (1, True)
    (tmp_path / "doc.json").write_text("{}")
    for arguments in (("sign", "doc.json", "ann.pem"), ("show", "doc.json"), ("show", "nowhere.json")):
        refused = run(*arguments)
        assert (refused.returncode, refused.stderr[:7]) == (1, "Refused"), arguments


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["draft-root"], "0 keys"),
        (["draft-root", "--root-key", "nowhere.pem"], "No such file"),
        (["draft-targets", "--withdraw", "linux"], "is not delegated"),
        (["publish", "nowhere.json"], "No such file"),
    ],
)
def test_a_draft_that_cannot_be_is_refused(
    db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=told):
        call_command("tuf", *arguments)
    assert not list(tmp_path.iterdir())
    assert not RepositoryDocument.objects.exists()
