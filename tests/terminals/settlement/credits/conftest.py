"""A terminal that settles, and the profiles of those who credit it."""

import io
from collections.abc import Callable
from typing import Any

import pytest

from terminals.estate.models import Merchant, Organisation, Store, Terminal, TerminalModel
from terminals.estate.registering import register_terminal
from terminals.link.protocol.messages.settlement import Settlement, Total
from terminals.settlement import tasks
from terminals.settlement.credits import services
from terminals.settlement.credits.rules import checked
from terminals.settlement.models import CreditFile, CreditProfile
from terminals.simulator.device import Device
from tests.conftest import deliver, sold, working_device
from tests.terminals.settlement.credits.files import COLUMNS, csv_file

Bring = Callable[..., CreditFile]


@pytest.fixture
def acquirer(db: None) -> Organisation:
    return Organisation.objects.create(name="Acquirer")


@pytest.fixture
def terminal(acquirer: Organisation) -> Terminal:
    return registered(acquirer, "SN-1", "00000001")


def registered(organisation: Organisation, serial: str, tid: str, mid: str = "1") -> Terminal:
    merchant, _ = Merchant.objects.get_or_create(name=f"Bakery {mid}", mid=mid, organisation=organisation)
    store, _ = Store.objects.get_or_create(merchant=merchant, name="Corner")
    model, _ = TerminalModel.objects.get_or_create(vendor="Acme", name="One", platform="linux-arm64")
    return register_terminal(serial=serial, model=model, store=store, tid=tid, actor="ops")


@pytest.fixture
def device(terminal: Terminal) -> Device:
    return working_device(terminal)


def settled(device: Device, number: int = 1, minor: int = 1000) -> None:
    """Let the terminal sell something, upload it, and settle the batch."""
    deliver(sold(device, minor, batch_number=number))
    report(device, number, [Total("card", "sale", "EUR", 1, minor)])


def report(device: Device, number: int, totals: list[Total]) -> None:
    deliver(device.report("settlement", Settlement(number, device.now(), "EUR", totals)))


def make_profile(organisation: Organisation, name: str = "Bank", form: str = "camt", **settings: Any) -> CreditProfile:
    said = {"reference": "TID {tid} BATCH {batch}"} if form == "camt" else {"columns": COLUMNS}
    return CreditProfile.objects.create(
        organisation=organisation, name=name, format=form, settings=checked(form, {**said, **settings})
    )


@pytest.fixture
def profile(acquirer: Organisation) -> CreditProfile:
    return make_profile(acquirer)


@pytest.fixture
def csv_profile(acquirer: Organisation) -> CreditProfile:
    return make_profile(
        acquirer, "Acquirer", "csv", methods={"VISA": "card/visa", "CARD": "card", "Alipay": "qr/alipay"}
    )


@pytest.fixture
def bring() -> Bring:
    return brought


def brought(profile: CreditProfile, content: bytes, name: str = "credits.xml") -> CreditFile:
    """Bring a file and let the worker do all that is to be done with it."""
    job = services.bring(profile=profile, file=io.BytesIO(content), name=name, actor="ann")
    tasks.work_on_credits()
    job.refresh_from_db()
    return job


def rows(*lines: str) -> bytes:
    return csv_file(*lines)
