"""Certificates that renew over new keys without a gap, and that end on time: revoked, listed, and their holders put out."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from fleet.local import device_ca
from terminals.common.facts.models import Fact
from terminals.enrolment import authority, certificates
from terminals.enrolment.codes import issue_activation_code
from terminals.enrolment.models import Certificate, DeviceCA
from terminals.estate.models import Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.link import evictions
from terminals.link.models import Command, DeadLetter, Eviction
from terminals.link.protocol.messages.enrolment import CertificateRequest
from terminals.link.relay import claim
from terminals.settlement.models import Transaction
from terminals.simulator import identity
from terminals.simulator.device import Device
from tests.conftest import deliver, enrolled_device, make_csr, obey, sold, working_device

Register = Callable[[str], Terminal]
LISTS = "/pki/device-ca.crl.pem"


@pytest.fixture
def device(register: Register) -> Device:
    return working_device(register("SN-1"))


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def certificate_of(device: Device) -> x509.Certificate:
    return x509.load_pem_x509_certificates(device.memory.certificate_pem.encode())[0]


def listed(client: Client) -> set[str]:
    """Return the serial numbers on the lists of revoked certificates, in hexadecimal."""
    found = set()
    for part in client.get(LISTS).content.split(b"-----END X509 CRL-----\n")[:-1]:
        crl = x509.load_pem_x509_crl(part + b"-----END X509 CRL-----\n")
        found |= {f"{entry.serial_number:x}" for entry in crl}
    return found


def test_a_terminal_renews_by_itself_at_two_thirds_and_nothing_is_lost_on_the_way(device: Device) -> None:
    before = certificate_of(device)
    with time_machine.travel(in_days(59)):
        assert identity.renew_when_due(device) == []
    with time_machine.travel(in_days(60.5)):
        late = device.hello()  # signed by the earlier key, and heard after the change
        deliver(*identity.renew_when_due(device), sold(device, 500))
        assert identity.renew_when_due(device) == [], "once a day"
        assert obey(device, "install_certificate").state == "succeeded"
        assert device.reconnect_wanted
        deliver(late, device.hello(), sold(device, 700))
    after = certificate_of(device)
    assert after.public_key() != before.public_key()
    assert after.not_valid_after_utc > before.not_valid_after_utc + timedelta(days=59)
    assert Transaction.objects.count() == 2
    assert DeadLetter.objects.count() == 0
    assert Certificate.objects.filter(revoked_at=None).count() == 2, "the earlier one holds until its end"
    assert Certificate.objects.get(current=True).serial_number == f"{after.serial_number:x}"


def test_the_earlier_key_is_forgotten_when_its_certificate_has_run_out(device: Device) -> None:
    earlier_key = device.memory.private_key_pem
    with time_machine.travel(in_days(61)):
        deliver(*identity.renew_when_due(device))
        obey(device, "install_certificate")
        assert certificates.forget_earlier_keys(in_days(5)) == 0, "the new one was not used yet"
        deliver(device.hello())
        assert certificates.forget_earlier_keys(in_days(0.9)) == 0
        assert certificates.forget_earlier_keys(in_days(1.1)) == 1
        device.memory.private_key_pem = earlier_key
        assert deliver(device.hello()).dead == 1
    assert DeadLetter.objects.get().reason == "bad_signature"


def test_one_that_never_took_its_certificate_keeps_its_key_until_the_earlier_one_ends(device: Device) -> None:
    with time_machine.travel(in_days(61)):
        deliver(*identity.renew_when_due(device))
    assert certificates.forget_earlier_keys(in_days(89)) == 0
    assert certificates.forget_earlier_keys(in_days(91)) == 1


def test_only_a_hello_by_the_new_key_says_that_it_is_in_use(device: Device) -> None:
    with time_machine.travel(in_days(61)):
        deliver(*identity.renew_when_due(device))
        deliver(device.hello())  # by the earlier key: its certificate did not arrive yet
        renewed = Certificate.objects.get(current=True)
        assert renewed.confirmed_at is None
        obey(device, "install_certificate")
        deliver(device.hello())
        renewed.refresh_from_db()
        assert renewed.confirmed_at is not None


def test_a_thief_with_a_key_that_was_replaced_cannot_renew(device: Device) -> None:
    stolen = device.memory.private_key_pem
    with time_machine.travel(in_days(61)):
        deliver(*identity.renew_when_due(device))
        obey(device, "install_certificate")
        deliver(device.hello())
        Command.objects.all().delete()
    with time_machine.travel(in_days(61.5)):
        mine, device.memory.private_key_pem = device.memory.private_key_pem, stolen
        assert refused(device, make_csr(ec.generate_private_key(ec.SECP256R1()))) == "replaced_key"
        device.memory.private_key_pem = mine
        assert deliver(device.hello()).dead == 0, "the owner goes on"


def test_one_that_lost_its_new_key_before_it_used_it_asks_with_another(device: Device) -> None:
    with time_machine.travel(in_days(61)):
        deliver(*identity.renew_when_due(device))
        device.memory.next_key_pem = ""
    with time_machine.travel(in_days(62.1)):
        deliver(*identity.renew_when_due(device))
        assert obey(device, "install_certificate").state == "succeeded"
        assert deliver(device.hello()).dead == 0


def test_a_terminal_that_did_not_get_the_answer_asks_again_and_gets_the_same(device: Device) -> None:
    with time_machine.travel(in_days(61)):
        deliver(*identity.renew_when_due(device))
    with time_machine.travel(in_days(62.1)):
        deliver(*identity.renew_when_due(device))
        assert obey(device, "install_certificate").state == "succeeded"
    assert Certificate.objects.count() == 2
    states = Command.objects.filter(type="install_certificate").order_by("id").values_list("state", flat=True)
    assert list(states) == ["cancelled", "succeeded"]


def test_the_server_tells_who_is_late_and_does_so_once_a_day(device: Device) -> None:
    assert certificates.remind(in_days(60)) == 0
    with time_machine.travel(in_days(66)):
        assert certificates.remind(in_days(0)) == 1
        assert certificates.remind(in_days(0.5)) == 0
        obey(device, "renew_certificate")
        assert obey(device, "install_certificate").state == "succeeded"
        assert certificates.remind(in_days(1.5)) == 0


def refused(device: Device, csr: str) -> str:
    """Send a request, and return the reason for which nothing was issued."""
    before = list(Certificate.objects.values_list("pk", flat=True))
    deliver(device.report("certificate_request", CertificateRequest(csr)))
    assert list(Certificate.objects.values_list("pk", flat=True)) == before
    assert not Command.objects.filter(type="install_certificate").exists()
    return DeadLetter.objects.latest("pk").reason


def test_requests_that_nobody_should_have_sent_are_refused(device: Device, register: Register) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert refused(device, make_csr(key, "SN-1")) == "too_soon"
    other = enrolled_device(register("SN-2"))
    with time_machine.travel(in_days(61)):
        assert refused(device, "junk") == "bad_request"
        assert refused(device, make_csr(key, "SN-2")) == "bad_subject"
        assert refused(device, make_csr(ec.generate_private_key(ec.SECP521R1()))) == "weak_key"
        assert refused(device, make_csr(identity.private_key(other.memory.private_key_pem))) == "key_in_use"
    with time_machine.travel(in_days(91)):
        assert refused(device, make_csr(key)) == "expired"


def test_a_certificate_over_another_key_or_for_another_terminal_is_not_taken(
    device: Device, register: Register
) -> None:
    other = working_device(register("SN-2"))
    with time_machine.travel(in_days(61)):
        deliver(*identity.renew_when_due(device), *identity.renew_when_due(other))
        theirs = Command.objects.get(terminal__serial="SN-2", type="install_certificate")
        held = device.memory.certificate_pem
        assert device.receive("", bytes(theirs.payload)) == [], "a command for another"
        device.memory.next_key_pem = identity.private_pem(ec.generate_private_key(ec.SECP256R1()))
        assert obey(device, "install_certificate").code == "wrong_certificate"
        assert device.memory.certificate_pem == held


def test_a_thousand_renewals_take_the_statements_of_ten(register: Register) -> None:
    def statements(devices: list[Device]) -> int:
        asked = [message for device in devices for message in identity.renew_when_due(device)]
        assert len(asked) == len(devices)
        with CaptureQueriesContext(connection) as captured:
            deliver(*asked)
        return len(captured)

    devices = [working_device(register(f"SN-{n}")) for n in range(24)]
    with time_machine.travel(in_days(61)):
        assert statements(devices[:4]) >= statements(devices[4:])
    assert Certificate.objects.filter(current=True, issued_at__gt=in_days(60)).count() == 24
    assert DeadLetter.objects.count() == 0


def test_one_batch_cannot_certify_one_key_for_two(device: Device, register: Register) -> None:
    other, csr = working_device(register("SN-2")), make_csr(ec.generate_private_key(ec.SECP256R1()))
    with time_machine.travel(in_days(61)):
        requests = [one.report("certificate_request", CertificateRequest(csr)) for one in (device, other)]
        assert deliver(*requests).dead == 1
    assert DeadLetter.objects.get().reason == "key_in_use"
    assert Command.objects.filter(type="install_certificate").count() == 1


def retire(device: Device) -> None:
    change_state(
        terminal=Terminal.objects.get(serial=device.memory.serial),
        transition=TerminalTransition.retire,
        actor="ops",
        write_off={"EUR": 0},
    )


def test_what_is_revoked_is_listed_at_once_and_its_holder_put_out(device: Device, client: Client) -> None:
    serial = Certificate.objects.get().serial_number
    assert listed(client) == set()
    retire(device)
    assert listed(client) == {serial}
    assert Terminal.objects.get().public_key_pem == ""
    assert Fact.objects.filter(kind="enrolment.revoked").count() == 1
    put_out: list[str] = []

    def take_over(client_id: str) -> bool:
        put_out.append(client_id)
        return True

    evictions.run_due(take_over)
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=6)):
        evictions.run_due(take_over)
    for seconds in (30, 70, 200):
        with time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds)):
            evictions.run_due(take_over)
    assert put_out == ["SN-1"] * 3
    assert not Eviction.objects.exists()


def test_a_broker_that_is_away_is_tried_again(device: Device) -> None:
    retire(device)
    answers = [False, False, True, True, True]
    for seconds in (1, 7, 13, 19, 80):
        with time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds)):
            evictions.run_due(lambda name: answers.pop(0))
    assert answers == []
    assert not Eviction.objects.exists()


def test_who_enrols_again_loses_the_earlier_certificate(device: Device, client: Client) -> None:
    earlier = f"{certificate_of(device).serial_number:x}"
    again = enrolled_device(Terminal.objects.get())
    assert listed(client) == {earlier}
    assert deliver(device.hello()).dead == 1, "the earlier key signs nothing any more"
    assert deliver(again.hello()).dead == 0


def test_an_unchanged_list_costs_a_304_and_is_made_anew_each_day(device: Device, client: Client) -> None:
    first = client.get(LISTS)
    assert client.get(LISTS, headers={"If-None-Match": first["ETag"]}).status_code == 304
    with time_machine.travel(in_days(1.1)):
        second = client.get(LISTS, headers={"If-None-Match": first["ETag"]})
        assert second.status_code == 200
        crl = x509.load_pem_x509_crl(second.content)
        assert crl.next_update_utc is not None
        assert crl.next_update_utc > in_days(6)
    assert DeviceCA.objects.get().crl_number == 2


def test_a_ca_that_issues_no_more_goes_on_listing(device: Device, client: Client) -> None:
    serial = Certificate.objects.get().serial_number
    device_ca.replace()
    retire(device)
    assert listed(client) == {serial}
    assert client.get(LISTS).content.count(b"BEGIN X509 CRL") == 2
    with time_machine.travel(in_days(91)):
        assert listed(client) == set(), "what has run out needs no list"


def test_without_a_device_ca_enrolment_says_what_to_do(register: Register, client: Client) -> None:
    DeviceCA.objects.all().delete()
    terminal = register("SN-1")
    body = {
        "code": issue_activation_code(terminal=terminal, actor="ops"),
        "serial": "SN-1",
        "csr": make_csr(ec.generate_private_key(ec.SECP256R1())),
    }
    answer = client.post("/enrol", body, content_type="application/json")
    assert (answer.status_code, answer.json()["reason"]) == (400, "no_device_ca")


def test_a_suspended_terminal_renews_too(device: Device) -> None:
    change_state(terminal=Terminal.objects.get(), transition=TerminalTransition.suspend, actor="ops")
    with time_machine.travel(in_days(66)):
        assert certificates.remind(in_days(0)) == 1
        assert [one.device_id for one in claim(10, in_days(0))] == ["SN-1"]
        obey(device, "renew_certificate")
        assert len(claim(10, in_days(0))) == 1
        assert obey(device, "install_certificate").state == "succeeded"


def test_a_ca_that_ran_out_refuses_each_and_holds_up_nobody(device: Device) -> None:
    with time_machine.travel(in_days(61)):
        DeviceCA.objects.update(not_after=in_days(-1))
        taken = deliver(*identity.renew_when_due(device), sold(device, 500))
    assert (taken.fresh, taken.dead) == (2, 1)
    assert DeadLetter.objects.get().reason == "device_ca_expired"
    assert Transaction.objects.count() == 1


def test_what_was_issued_before_the_vault_held_the_ca_is_listed_when_it_is_revoked(
    device: Device, client: Client
) -> None:
    Certificate.objects.update(ca=None)
    root = Path(settings.DEVICE_CA_CERTIFICATE_FILE)
    key = root.with_name(root.name.replace(".crt.", ".key."))
    authority.adopt(key.read_bytes(), root.read_text(), actor="ops")
    retire(device)
    assert listed(client) == {Certificate.objects.get().serial_number}


def test_a_certificate_that_ran_out_is_no_shelter_for_a_connection(device: Device) -> None:
    with time_machine.travel(in_days(95)):
        retire(device)
        assert Eviction.objects.get().device_id == "SN-1"
        assert Terminal.objects.get().public_key_pem == ""
