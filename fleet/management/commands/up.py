"""`manage.py up`: the whole of Tillwarden on this machine, in one process group. `make run` calls it."""

import json
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.utils import timezone

from firmware.tuf.services import renew
from fleet import env
from fleet.access.models import ApiToken
from fleet.local import custody, demo, device_ca, embedded, installation, mosquitto
from fleet.local.embedded import Child
from fleet.local.supervisor import Part, Supervisor, say
from terminals.enrolment.certificates import revocation_lists
from terminals.estate.models import TerminalModel
from terminals.link.mqtt import take_over

READY_SECONDS = 90
OPERATOR = "admin"


class Command(BaseCommand):
    help = "Start database, broker, web, device link, worker, beat and a simulated fleet; Ctrl-C ends them all."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        state_dir: Path = settings.STATE_DIR
        supervisor = Supervisor(state_dir / "processes.json")
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, lambda *_: _leave())
        try:
            _start(supervisor, state_dir)
            supervisor.watch()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            say("up", "stopping ...")
        finally:
            supervisor.stop_all()
        say("up", "stopped")


def _leave() -> None:
    raise KeyboardInterrupt


def _start(supervisor: Supervisor, state_dir: Path) -> None:
    """Bring everything up in the order in which the parts need each other, saying what happens."""
    parts = env.names("EMBEDDED_PARTS", "")
    if "database" in parts:
        say("up", "starting PostgreSQL ...")
        _start_database(supervisor, state_dir)
    for name, address in (("database", settings.DATABASES["default"]), ("broker", settings.MQTT_URL)):
        if name not in parts:
            where = address["HOST"] or address["NAME"] if isinstance(address, dict) else address.rsplit("@", 1)[-1]
            say("up", f"using the {name} at {where}")
    say("up", "preparing the database ...")
    try:
        call_command("migrate", verbosity=0, interactive=False)
    except OperationalError as error:
        raise CommandError(f"the database cannot be used: {str(error).strip().splitlines()[-1]}") from None
    device_ca.ensure()
    if "broker" in parts:  # not before the database: Mosquitto starts with the list of revoked certificates
        say("up", "starting the MQTT broker ...")
        supervisor.start(Part("broker", _broker(state_dir), probe=take_over))
    demo.seed_demo()
    custody.hold_ceremony(TerminalModel.objects.values_list("platform", flat=True))
    renew(timezone.now())  # it may have been stopped for days
    first_password = _ensure_operator(state_dir)
    connection.close()
    say("up", "starting web, device link, worker and simulated terminals ...")
    for part in _application_parts():
        supervisor.start(part)
    _wait_until_ready(supervisor)
    _welcome(state_dir, first_password)


def _broker(state_dir: Path) -> Child:
    port = env.number("MQTT_PORT", 1883)
    if env.optional("BROKER", "embedded") == "embedded":
        return embedded.broker(state_dir / "broker.toml", port)
    crl_pem, roots = revocation_lists(timezone.now()), settings.DEVICE_CA_CERTIFICATE_FILE
    mosquitto.prepare(state_dir / "mosquitto", state_dir / "secrets", port, roots=roots, crl_pem=crl_pem)
    return Child(mosquitto.command(state_dir / "mosquitto"), inherits=False)


def _start_database(supervisor: Supervisor, state_dir: Path) -> None:
    child = embedded.postgres(state_dir / "database", installation.socket_dir(state_dir))
    supervisor.start(Part("database", child, stop_signal=signal.SIGINT))  # SIGINT: fast shutdown
    address = f"postgresql://postgres@/postgres?host={installation.socket_dir(state_dir)}"
    deadline = time.monotonic() + 30
    while True:
        try:
            with psycopg.connect(address, autocommit=True, connect_timeout=2) as server:
                if not server.execute("SELECT 1 FROM pg_database WHERE datname = 'tillwarden'").fetchone():
                    server.execute("CREATE DATABASE tillwarden")
                return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline or not supervisor.alive("database"):
                raise CommandError(f"PostgreSQL did not start: {error}") from None
            time.sleep(0.1)


def _application_parts() -> list[Part]:
    """Return the parts that are Tillwarden itself."""
    python, port = sys.executable, env.number("PORT", 8000)
    bin_dir = str(Path(python).parent)
    web = [f"{bin_dir}/gunicorn", "fleet.wsgi", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
    web += ["--workers", "2", "--threads", "8", "--graceful-timeout", "3", "--log-level", "warning"]
    web += ["--no-control-socket"]
    celery = [python, "-m", "celery", "--quiet", "-A", "fleet"]
    worker = [*celery, "worker", "--pool", "threads", "--concurrency", "2", "--loglevel", "warning"]
    worker += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    parts = [
        Part("web", Child(web)),
        Part("link", Child([python, "manage.py", "run_device_link", "--name", "local"])),
        # Celery warns of every start as root; here the worker runs no one else's code.
        Part("worker", Child(worker, environment={"PYTHONWARNINGS": "ignore:You're running the worker"})),
        # Beside the worker and not inside it: an embedded beat that dies is missed by nobody.
        Part("beat", Child([*celery, "beat", "--loglevel", "warning", "--pidfile="])),
    ]
    if env.optional("BROKER", "embedded") == "mosquitto" and "broker" in env.names("EMBEDDED_PARTS", ""):
        follow = mosquitto.follow_command(settings.STATE_DIR / "mosquitto", f"http://127.0.0.1:{port}")
        parts.append(Part("crl", Child(follow, inherits=False)))
    terminals = env.number("TERMINALS", 50)
    if terminals:
        simulate = [python, "manage.py", "simulate", "--terminals", str(terminals), "--seed", "1"]
        parts.append(Part("simulator", Child(simulate)))
    return parts


def _ensure_operator(state_dir: Path) -> str | None:
    """Keep operator.json true; return a password only when it was made just now."""
    path = state_dir / "operator.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    user = get_user_model().objects.filter(username=OPERATOR).first()
    password = None
    if user is None or not user.check_password(known.get("password", "")):
        password = secrets.token_urlsafe(12)
        user = user or get_user_model()(username=OPERATOR, is_staff=True, is_superuser=True)
        user.set_password(password)
        user.save()
        known["password"] = password
    digest_known = known.get("token") and ApiToken.objects.filter(token_key=known["token"][:15], user=user).exists()
    if not digest_known:
        _, known["token"] = ApiToken.objects.create(user=user, name="make run")
    known |= {"url": settings.PUBLIC_URL, "username": OPERATOR}
    installation.write_private(path, json.dumps(known, indent=1) + "\n")
    return password


def _wait_until_ready(supervisor: Supervisor) -> None:
    """Wait for /readyz while watching over the parts; say which one is missing when it takes too long."""
    address = f"http://127.0.0.1:{env.number('PORT', 8000)}/readyz"
    deadline, last = time.monotonic() + READY_SECONDS, ""
    while time.monotonic() < deadline:
        supervisor.revive_dead()
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError as error:
            last = error.read().decode()
        except OSError as error:
            last = str(error)
        time.sleep(0.25)
    say("up", f"not ready after {READY_SECONDS} s, going on: {last}")


def _welcome(state_dir: Path, password: str | None) -> None:
    shown = password or f"see {state_dir / 'operator.json'}"
    say("up", "")
    say("up", f"Tillwarden is ready:  {settings.PUBLIC_URL}/admin/")
    say("up", f"          username:  {OPERATOR}")
    say("up", f"          password:  {shown}")
    say("up", "Ctrl-C ends everything.")
