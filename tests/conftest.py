"""Builders that the tests share."""

import os
import random
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client, TransactionTestCase
from django.utils import translation
from rest_framework.test import APIClient

from fleet.access.models import ApiToken
from fleet.local import device_ca
from terminals.enrolment.codes import issue_activation_code
from terminals.enrolment.services import enrol
from terminals.estate.models import Merchant, Store, Terminal, TerminalModel
from terminals.estate.registering import register_terminal
from terminals.keys.rules import accept_offer
from terminals.link.heartbeat import PARTS, beat
from terminals.link.inbox import BatchResult, Inbox
from terminals.link.models import Command, Heartbeat
from terminals.link.mqtt import Incoming
from terminals.link.protocol.messages.enrolment import UpdateTrust
from terminals.link.protocol.messages.settlement import TransactionRecord, Transactions
from terminals.link.routes import routes
from terminals.link.services import new_id
from terminals.parameters import sending
from terminals.parameters.models import ModelTemplate, ParameterTemplate
from terminals.parameters.services import publish_template, set_values
from terminals.settlement.models import SettlementPlan, SettlementSchedule
from terminals.settlement.plans.services import set_level
from terminals.simulator.device import Device, Outgoing
from terminals.simulator.faults import Faults
from terminals.simulator.memory import Memory
from tests import migrated, openapi, services


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Begin with what is migrated already: `migrate` then finds nothing to do."""
    connection.settings_dict["TEST"]["TEMPLATE"] = migrated.NAME


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Let the test runner empty the audit after a test that committed; test_audit enables these triggers to try them."""
    if not is_there():
        return
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE common_auditentry DISABLE TRIGGER audit_is_not_emptied")
        cursor.execute("ALTER TABLE common_auditseal DISABLE TRIGGER seals_are_not_emptied")
        have_device_ca()


def is_there() -> bool:
    """Whether there is a database: where no test of those chosen wants one, none is made."""
    return str(connection.settings_dict["NAME"]).startswith("test_")


def have_device_ca() -> None:
    """Let a device CA issue, as in any installation that was set up; the audit begins after it."""
    device_ca.ensure()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE common_auditentry, common_auditseal, common_unsealedentry RESTART IDENTITY")


# A busy machine takes its time, for an example and for making one.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

# A real hash takes a quarter of a second, by design; most tests have an operator, few are about his password.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Each test client would look at every static file there is before its first request; so they are looked for when asked for.
settings.WHITENOISE_AUTOREFRESH = True

# What every database has from its first migration on; a test that changes it pays for a whole flush.
KEPT = ("django_content_type", "auth_permission", "auth_group", "auth_group_permissions", "enrolment_deviceca")


def _state_of_kept() -> list[tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"SELECT count(*), coalesce(max(id), 0) FROM {name}" for name in KEPT))  # noqa: S608
        return list(cursor.fetchall())


@pytest.fixture(scope="session", autouse=True)
def quick_flush(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Empty only the tables in which a test that committed left rows: of two hundred mostly twenty, a tenth of the time."""
    if not is_there():
        yield
        return
    with django_db_blocker.unblock():
        tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - {*KEPT}
        kept = _state_of_kept()
        connection.close()
    cases: Any = TransactionTestCase  # what it does after a test is not a part of its types
    whole = cases._fixture_teardown
    asked = " UNION ALL ".join(f"(SELECT '{name}' FROM {name} LIMIT 1)" for name in sorted(tables))  # noqa: S608

    def teardown(case: TransactionTestCase) -> None:
        if _state_of_kept() != kept:
            whole(case)
            have_device_ca()
            return
        with connection.cursor() as cursor:
            cursor.execute(asked)
            if names := ", ".join(f'"{name}"' for (name,) in cursor.fetchall()):
                cursor.execute(f"TRUNCATE {names} CASCADE")

    cases._fixture_teardown = teardown
    yield
    cases._fixture_teardown = whole


@pytest.fixture
def register(db: None) -> Callable[[str], Terminal]:
    """Return a function that registers a terminal by serial."""
    merchant, _ = Merchant.objects.get_or_create(name="Bakery", mid="1")
    store, _ = Store.objects.get_or_create(merchant=merchant, name="Corner")
    model, _ = TerminalModel.objects.get_or_create(vendor="Acme", name="One", platform="linux-arm64")
    return lambda serial: register_terminal(serial=serial, model=model, store=store, actor="ops")


def make_csr(key: ec.EllipticCurvePrivateKey, name: str | None = None) -> str:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name else [])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


TEMPLATE: dict[str, Any] = {
    "properties": {
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "tip_enabled": {"type": "boolean"},
        "contactless_limits": {"type": "object", "format": "money"},
        "wifi": {"type": "string", "writeOnly": True},
    }
}


def set_parameters(terminal: Terminal, **values: Any) -> ParameterTemplate:
    """Give a terminal's model a template, set values at the terminal, and let them be sent."""
    template = ParameterTemplate.objects.filter(name="till").first()
    if template is None:
        template = publish_template(name="till", schema=TEMPLATE, actor="ops").template
    ModelTemplate.objects.get_or_create(model=terminal.model, defaults={"template": template})
    set_values(template=template, level=("terminal", terminal.pk), values=values, actor="ops")
    sending.run_due(time.monotonic() + 20)
    return template


class SteadyDice(random.Random):
    """Dice that never roll what is rare: no fault, no refund, no new roll of paper by itself."""

    def random(self) -> float:
        return 0.99


def enrolled_device(terminal: Terminal, faults: Faults = Faults()) -> Device:  # noqa: B008 - an immutable tuple
    """Enrol a terminal and return the virtual one that holds its identity."""
    key = ec.generate_private_key(ec.SECP256R1())
    code = issue_activation_code(terminal=terminal, actor="ops")
    answer = enrol(code=code, serial=terminal.serial, csr_pem=make_csr(key, terminal.serial))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    terminal.refresh_from_db()
    memory = Memory(
        serial=terminal.serial,
        device_id=answer["device_id"],
        topics=answer["topics"],
        certificate_pem=answer["certificate"],
        private_key_pem=pem,
        batch_number=answer["batch_number"],
        kbpk_hex=accept_offer(key, answer["key_protection"], device_id=answer["device_id"]).hex(),
    )
    memory.trust_anchors(msgspec.convert(answer["trust_anchors"], UpdateTrust))
    return Device(memory, faults=faults, dice=SteadyDice(7), now=lambda: datetime.now(UTC))


def working_device(terminal: Terminal, faults: Faults = Faults()) -> Device:  # noqa: B008 - an immutable tuple
    """Enrol a terminal, let it say hello, and return the virtual one; `terminal` is then as the server knows it."""
    device = enrolled_device(terminal, faults)
    deliver(device.hello())
    terminal.refresh_from_db()
    return device


def sold(device: Device, amount_minor: int, currency: str = "EUR", batch_number: int = 1) -> Outgoing:
    """Return the upload of one card sale of just this amount."""
    record = TransactionRecord(new_id(), "sale", "card", amount_minor, currency, device.now())
    return device.report("transactions", Transactions(batch_number, [record]))


def make_plan(name: str, *, is_default: bool = False, **settings: Any) -> SettlementPlan:
    """Save a settlement plan with these settings."""
    return SettlementPlan.objects.create(name=name, is_default=is_default, settings=settings)


def set_schedule(*, terminal: Terminal, plan: SettlementPlan | None, actor: str, **settings: Any) -> SettlementSchedule:
    """Put a terminal under a plan, with settings of its own."""
    set_level(level=("terminal", terminal.pk), plan=plan, settings=settings, actor=actor)
    return SettlementSchedule.objects.select_related("effective").get(pk=terminal.pk)


def deliver(*outgoing: Outgoing) -> BatchResult:
    """Give messages to the inbox as the link would."""
    now = datetime.now(UTC)
    return Inbox(routes).take(
        [Incoming(1, n, message.topic, message.payload, now) for n, message in enumerate(outgoing, 1)]
    )


def obey(device: Device, kind: str) -> Command:
    """Hand the terminal its latest command of a type, and the server what it answers."""
    command = Command.objects.filter(terminal__serial=device.memory.serial, type=kind).latest("id")
    deliver(*device.receive("", bytes(command.payload)))
    command.refresh_from_db()
    return command


def in_thread(work: Callable[[], Any]) -> Any:
    """Do something in another thread of a pool, on a connection of its own that ends with it."""
    try:
        return work()
    finally:
        connection.close()


def wait_until(done: Callable[[], bool], what: str, timeout_seconds: float = 90) -> None:
    """Poll until something is true, and fail saying what did not come; a busy machine takes its time."""
    deadline = time.monotonic() + timeout_seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}"
        time.sleep(0.05)


class Links:
    """Link processes as they run in production, on the test's database and the real broker."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._test = secrets.token_hex(4)
        self.environment = {
            "DATABASE_URL": services.address(connection.settings_dict["NAME"]),
            "MQTT_CLIENT_PREFIX": self._test,  # the broker keeps lanes' sessions: no test shall inherit another's
        }

    def start(self, name: str) -> None:
        """Start a link and wait until it is connected."""
        since, full_name = datetime.now(UTC), f"{name}-{self._test}"
        self._running[name] = subprocess.Popen(
            [sys.executable, "manage.py", "run_device_link", "--name", full_name],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **self.environment},
        )
        beats = Heartbeat.objects.filter(name=f"broker:{full_name}", healthy=True, at__gt=since)
        wait_until(beats.exists, f"link {name} at work")

    def kill(self, name: str) -> None:
        """End a link as a power failure would."""
        self._running[name].kill()
        self._running.pop(name).wait()

    def stop_all(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait(30)


@pytest.fixture
def links(transactional_db: None) -> Iterator[Links]:
    """Link processes that end with the test."""
    running = Links()
    yield running
    running.stop_all()


@pytest.fixture(autouse=True)
def in_english() -> None:
    """A request leaves its reader's language behind in the thread; no test shall inherit it."""
    translation.activate("en")


WIDE_LOCK = re.compile(r' JOIN ".* FOR (NO KEY )?UPDATE(?! OF)')  # as the ORM spells it


def _refuse_wide_locks(execute: Callable[..., Any], sql: Any, *rest: Any) -> Any:
    assert not WIDE_LOCK.search(str(sql)), (
        f"it may lock joined rows too; say `of` which table, or order by the column: {sql}"
    )
    return execute(sql, *rest)


@pytest.fixture(autouse=True)
def locks_are_narrow() -> Iterator[None]:
    """No statement of a test's own thread locks rows that it joined by the way, as `order_by("terminal")` does terminals: others
    lock them by id."""
    with connection.execute_wrapper(_refuse_wide_locks):
        yield


@pytest.fixture
def parts_alive(db: None) -> None:
    """Signs of life of all parts, for as long as a test may last."""
    for part in PARTS:
        beat(name=f"{part}:test", part=part, healthy=True, at=datetime.now(UTC) + timedelta(minutes=5))


@pytest.fixture
def operator(db: None) -> Any:
    return get_user_model().objects.create_superuser("ops", password="a-long-password-here")


@pytest.fixture
def staff(client: Client, operator: Any) -> Client:
    """A browser in which the operator is logged in."""
    client.force_login(operator)
    return client


class CheckedClient(APIClient):
    """A client that holds every answer against the OpenAPI document."""

    def generic(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        response = super().generic(method, path, *args, **kwargs)
        openapi.check(method, urlsplit(path).path, response)
        return response


@pytest.fixture
def api(operator: Any) -> APIClient:
    """A client that bears the operator's token."""
    client = CheckedClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiToken.objects.create(user=operator)[1]}")
    return client


@pytest.fixture
def shop(db: None) -> dict[str, int]:
    """The ids of a store and a model, as the body of a registration wants them."""
    store = Store.objects.create(merchant=Merchant.objects.create(name="Bakery", mid="1"), name="Corner")
    model = TerminalModel.objects.create(vendor="Acme", name="One", platform="linux-arm64")
    return {"store": store.pk, "model": model.pk}
