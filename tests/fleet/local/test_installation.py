"""The one-machine installation: what it refuses to build on, and what its children may know."""

import os
from pathlib import Path

import pytest

from fleet.local.embedded import Child
from fleet.local.installation import CannotStart, refuse_foreign_folder, write_private


def test_a_socket_folder_that_somebody_else_made_is_refused(tmp_path: Path) -> None:
    mine, open_to_all, link = tmp_path / "mine", tmp_path / "open", tmp_path / "link"
    mine.mkdir(mode=0o700)
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    link.symlink_to(mine)
    refuse_foreign_folder(mine, {os.getuid()})
    refuse_foreign_folder(tmp_path / "not there yet", {os.getuid()})
    for folder, owners in ((mine, {os.getuid() + 1}), (open_to_all, {os.getuid()}), (link, {os.getuid()})):
        with pytest.raises(CannotStart, match="made by somebody else or is open to others"):
            refuse_foreign_folder(folder, owners)


def test_another_programs_environment_has_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "a secret")
    assert "SECRET_KEY" in Child(["web"]).full_environment()
    alone = Child(["postgres"], inherits=False).full_environment()
    assert "SECRET_KEY" not in alone
    assert alone["PATH"] == os.environ["PATH"]


def test_a_private_file_is_written_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "operator.json"
    path.write_text("old")
    write_private(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)
    assert [found.name for found in tmp_path.iterdir()] == ["operator.json"]
