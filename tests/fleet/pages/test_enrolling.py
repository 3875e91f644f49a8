"""Sheets of codes, the installer's page and the page of a waiting device."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from terminals.enrolment.codes import issue_activation_code
from terminals.enrolment.models import ActivationCode, EnrolmentRequest
from terminals.enrolment.services import enrol
from terminals.estate.models import Membership, Merchant, Store, Terminal, TerminalModel
from tests.conftest import make_csr

Register = Callable[[str], Terminal]


@pytest.fixture
def ops(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_a_sheet_has_a_slip_for_each_terminal_that_has_not_enrolled(register: Register, ops: Client) -> None:
    for n in range(3):
        register(f"SN-{n}")
    Terminal.objects.filter(serial="SN-2").update(state="active")
    form = {"filter": "serial ~ SN-"}
    shown = ops.post(reverse("code-sheet"), form | {"count": "1"}).content.decode()
    assert "SN-0, SN-1" in shown
    assert "Issue 2 codes" in shown
    assert not ActivationCode.objects.exists()
    sheet = ops.post(reverse("code-sheet"), form | {"issue": "1"})
    assert sheet["Cache-Control"] == "no-store"
    text = sheet.content.decode()
    assert text.count("<svg") >= 2
    assert "SN-2" not in text
    codes = re.findall(r"<code>([A-Z2-7-]{31})</code>", text)
    assert len(codes) == ActivationCode.objects.count() == 2
    assert enrol(code=codes[0], serial="SN-0", csr_pem=make_csr(ec.generate_private_key(ec.SECP256R1())))


def test_a_sheet_ends_at_its_size_and_refuses_a_filter_that_finds_nobody(
    register: Register, ops: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        register(f"SN-{n}")
    monkeypatch.setattr("fleet.pages.enrolling.MOST_ON_A_SHEET", 2)
    for text, told in (("serial ~ SN-", "at most 2 codes"), ("serial = SN-9", "no terminal"), ("x", "x")):
        page = ops.post(reverse("code-sheet"), {"filter": text, "issue": "1"}).content.decode()
        assert told in page
        assert "<svg" not in page.partition('id="sheet-form"')[2]
    assert not ActivationCode.objects.exists()


def test_an_installer_claims_and_nothing_else(register: Register, client: Client) -> None:
    terminal = register("SN-1")
    code = issue_activation_code(terminal=terminal, actor="ops")
    ida = User.objects.create_user("ida", is_staff=True)
    Membership.objects.create(user=ida, role=Group.objects.get(name="installer"), merchant=Merchant.objects.get())
    client.force_login(ida)
    wrong = client.post(reverse("claim"), {"serial": "SN-9", "code": code}).content.decode()
    assert "SN-9 takes the place of SN-1" in wrong
    done = client.post(reverse("claim"), {"serial": "SN-9", "code": code, "in_place": "on"}).content.decode()
    assert "Bakery" in done
    assert "has not enrolled yet" in done
    Terminal.objects.update(state="active")
    progress = client.get(reverse("claim-progress", args=[terminal.pk])).content.decode()
    assert "active" in progress
    assert client.get(reverse("code-sheet")).status_code == 403
    assert client.get(reverse("import")).status_code == 403
    assert client.post(reverse("terminal-action", args=[terminal.pk]), {"action": "retire"}).status_code == 403


def test_a_waiting_device_is_let_in_from_its_page_or_sent_away(ops: Client, settings: Any) -> None:
    settings.ENROLMENT_QUEUE = True
    store = Store.objects.create(merchant=Merchant.objects.create(name="Bakery", mid="1"), name="Corner")
    model = TerminalModel.objects.create(vendor="Acme", name="One", platform="linux-arm64")
    for serial in ("SN-1", "SN-1", "SN-2"):
        body = {"serial": serial, "csr": make_csr(ec.generate_private_key(ec.SECP256R1()))}
        assert ops.post("/enrol", body, content_type="application/json").status_code == 202
    fake, real, other = EnrolmentRequest.objects.order_by("pk")
    url = reverse("waiting-device", args=[real.pk])
    page = ops.get(url).content.decode()
    assert real.fingerprint in page
    assert "another key" in page
    place = {"store": store.pk, "model": model.pk, "tid": "T1"}
    answer = ops.post(url, place | {"approve": "1"})
    assert answer["Location"] == reverse("terminal-page", args=[Terminal.objects.get(serial="SN-1").pk])
    taken = ops.post(reverse("waiting-device", args=[fake.pk]), place | {"approve": "1"}).content.decode()
    assert "is on the books already" in taken
    used = ops.post(reverse("waiting-device", args=[other.pk]), place | {"approve": "1"}).content.decode()
    assert "has the TID T1" in used
    ops.post(reverse("waiting-device", args=[other.pk]), {"reject": "1"})
    other.refresh_from_db()
    assert (other.state, other.decided_by) == ("rejected", "root")
    assert 'id="waiting-form"' not in ops.get(reverse("waiting-device", args=[other.pk])).content.decode()
