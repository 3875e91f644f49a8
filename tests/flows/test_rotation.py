"""A secret is replaced while terminals are in the field: nobody loses a key, trust or a release."""

import io
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import call_command

from firmware.services import install_body
from fleet.local import device_ca
from fleet.local.pki import self_signed_ca_pem
from terminals.common import vault
from terminals.common.audit import anchors, chain
from terminals.common.audit.models import AuditEntry
from terminals.common.vault import VaultError
from terminals.enrolment import trust
from terminals.estate.models import Terminal
from terminals.keys.models import TerminalKey
from terminals.keys.services import establish_protection_key, request_key_delivery
from terminals.link.models import Command
from terminals.link.protocol import signing
from terminals.link.services import send_plain_command, target_of
from terminals.simulator.device import Device
from terminals.simulator.enrol import EnrolmentFailed, accept_signed_offer
from tests.conftest import deliver, enrolled_device, obey, working_device
from tests.releases import ready

Register = Callable[[str], Terminal]


@pytest.fixture
def device(register: Register) -> Device:
    return working_device(register("SN-1"))


def terminal() -> Terminal:
    return Terminal.objects.get()


def new_key(path: Path) -> str:
    """Write a fresh private key and return the path."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(*form))
    return str(path)


def public_bundle(path: Path, *private_key_files: str) -> str:
    """Write the public halves into a bundle and return its path."""
    path.write_text("".join(signing.public_pem(signing.private_key(one)) for one in private_key_files))
    return str(path)


def test_the_command_key_is_replaced_and_terminals_follow(device: Device, settings: Any, tmp_path: Path) -> None:
    old, new = settings.COMMAND_SIGNING_KEY_FILE, new_key(tmp_path / "new.pem")
    before = signing.command_signing_key().key_id
    assert trust.progress()[:2] == (1, 0)
    # First both are trusted, and the old one still signs.
    settings.TRUSTED_COMMAND_KEYS_FILE = public_bundle(tmp_path / "next.pem", new)
    assert trust.progress()[:2] == (0, 1)
    deliver(device.hello())
    assert Command.objects.get(type="update_trust").requested_by == "trust anchors"
    obey(device, "update_trust")
    assert trust.progress()[:2] == (1, 0)
    assert set(device.memory.command_keys) == {before, signing.key_id(signing.private_key(new))}
    # Then the new one signs, and the old one is let go.
    settings.COMMAND_SIGNING_KEY_FILE, settings.TRUSTED_COMMAND_KEYS_FILE = new, public_bundle(tmp_path / "o.pem", old)
    send_plain_command(terminal=terminal(), command_type="ping", actor="ops")
    assert obey(device, "ping").state == "succeeded"
    settings.TRUSTED_COMMAND_KEYS_FILE = ""
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):
        deliver(device.hello())
        obey(device, "update_trust")
    assert set(device.memory.command_keys) == {signing.command_signing_key().key_id}
    settings.COMMAND_SIGNING_KEY_FILE = old
    send_plain_command(terminal=terminal(), command_type="reboot", actor="ops")
    assert device.receive("", bytes(Command.objects.get(type="reboot").payload)) == []
    assert device.refused_commands == 1


def test_a_terminal_that_does_not_take_the_new_anchors_is_not_sent_them_at_each_hello(
    device: Device, settings: Any, tmp_path: Path
) -> None:
    settings.TRUSTED_COMMAND_KEYS_FILE = public_bundle(tmp_path / "n.pem", new_key(tmp_path / "new.pem"))
    for _ in range(5):
        deliver(device.hello())
    assert Command.objects.filter(type="update_trust").count() == 1
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):
        deliver(device.hello())
    assert list(Command.objects.filter(type="update_trust").values_list("state", flat=True)) == ["queued", "cancelled"]


def test_an_installations_trust_changes_only_by_a_key_that_is_trusted(
    device: Device, settings: Any, tmp_path: Path
) -> None:
    settings.COMMAND_SIGNING_KEY_FILE = new_key(tmp_path / "thief.pem")
    deliver(device.hello())
    held = dict(device.memory.command_keys)
    assert device.receive("", bytes(Command.objects.get(type="update_trust").payload)) == []
    assert device.memory.command_keys == held


def test_the_release_key_is_replaced_and_assignments_are_signed_by_the_new_one(
    device: Device, settings: Any, tmp_path: Path
) -> None:
    terminal, release = Terminal.objects.get(), ready("2.0.0")
    before = install_body(release, target_of(terminal), terminal.serial, 1).assignment
    old, new = settings.RELEASE_SIGNING_KEY_FILE, new_key(tmp_path / "new.pem")
    settings.RELEASE_SIGNING_KEY_FILE, settings.TRUSTED_RELEASE_KEYS_FILE = new, public_bundle(tmp_path / "o.pem", old)
    deliver(device.hello())
    obey(device, "update_trust")
    after = install_body(release, target_of(terminal), terminal.serial, 2).assignment
    for assignment in (before, after):
        signing.chosen_key(assignment, device.memory.release_keys)  # an order that is under way still holds
    settings.TRUSTED_RELEASE_KEYS_FILE = ""
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):
        deliver(device.hello())
        obey(device, "update_trust")
    signing.chosen_key(after, device.memory.release_keys)
    with pytest.raises(signing.BadSignature, match="not trusted"):
        signing.chosen_key(before, device.memory.release_keys)


def issued_by(device: Device) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(device.memory.certificate_pem.encode())


def test_another_device_ca_takes_over_and_terminals_know_nothing_of_it(register: Register, settings: Any) -> None:
    earlier = working_device(register("SN-1"))
    device_ca.replace()
    later = working_device(register("SN-2"))
    root = x509.load_pem_x509_certificate(Path(settings.DEVICE_CA_CERTIFICATE_FILE).read_bytes())
    for device in (earlier, later):
        certificate, ca = issued_by(device)
        certificate.verify_directly_issued_by(ca)
        ca.verify_directly_issued_by(root)
    assert issued_by(earlier)[1] != issued_by(later)[1]
    assert not Command.objects.filter(type="update_trust").exists()


def test_the_root_is_replaced_and_both_are_trusted(register: Register, settings: Any, tmp_path: Path) -> None:
    earlier = enrolled_device(register("SN-1"))
    old_bundle = Path(settings.DEVICE_CA_CERTIFICATE_FILE).read_text()
    key, bundle = Path(new_key(tmp_path / "root.key.pem")), tmp_path / "root.crt.pem"
    bundle.write_text(self_signed_ca_pem(key.read_bytes(), "Another root", path_length=1) + old_bundle)
    settings.DEVICE_CA_CERTIFICATE_FILE = str(bundle)
    device_ca.replace()
    later = enrolled_device(register("SN-2"))
    for device, root in zip((later, earlier), x509.load_pem_x509_certificates(bundle.read_bytes()), strict=True):
        issued_by(device)[1].verify_directly_issued_by(root)
    deliver(earlier.hello())
    update = json.loads(bytes(Command.objects.get(type="update_trust").payload))["body"]
    assert update["device_ca"] == bundle.read_text()


def test_the_vaults_master_key_is_replaced_without_a_restart(device: Device, settings: Any, tmp_path: Path) -> None:
    keyring = tmp_path / "master"
    first = Path(settings.VAULT_MASTER_KEY_FILE).read_text().strip()
    keyring.write_text(first)
    settings.VAULT_MASTER_KEY_FILE = str(keyring)
    request_key_delivery(terminal=terminal(), usage="P0", actor="ops")
    obey(device, "deliver_key")
    assert vault.current_head() == bytes(TerminalKey.objects.get().sealed_key)[: vault.HEAD]
    second = secrets.token_hex(32)
    keyring.write_text(f"{second}\n{first}\n")
    request_key_delivery(terminal=terminal(), usage="D0", actor="ops")  # opens the old, seals under the new
    told = io.StringIO()
    call_command("rotation", "reseal-keys", stdout=told)
    assert told.getvalue().startswith("2 keys sealed anew")  # the protection key and P0; D0 lay under the new one
    assert "its line may go" in told.getvalue()
    sealed = AuditEntry.objects.filter(action="vault.reseal").order_by("id").values_list("detail", flat=True)
    assert [(one["of"], one["keys"], one["not_opened"]) for one in sealed] == [
        ("protectionkey", 1, 0),
        ("terminalkey", 1, 0),
    ]
    keyring.write_text(second)
    for key in TerminalKey.objects.all():
        assert len(vault.unseal(bytes(key.sealed_key), bound_to=f"key:{key.pk}")) == 16
    request_key_delivery(terminal=terminal(), usage="M6", actor="ops")
    assert obey(device, "deliver_key").state == "succeeded"


def test_a_key_that_does_not_open_stops_no_rotation_and_keeps_the_old_line(
    device: Device, settings: Any, tmp_path: Path
) -> None:
    first = Path(settings.VAULT_MASTER_KEY_FILE).read_text().strip()
    for usage in ("P0", "D0"):
        request_key_delivery(terminal=terminal(), usage=usage, actor="ops")
    damaged = TerminalKey.objects.filter(usage="P0").get()
    sealed = bytes(damaged.sealed_key)
    # Another last byte, whatever it was: a fixed one would be the right one in one of 256 runs.
    TerminalKey.objects.filter(pk=damaged.pk).update(sealed_key=sealed[:-1] + bytes([sealed[-1] ^ 1]))
    keyring = tmp_path / "master"
    keyring.write_text(f"{secrets.token_hex(32)}\n{first}\n")
    settings.VAULT_MASTER_KEY_FILE = str(keyring)
    told = io.StringIO()
    call_command("rotation", "reseal-keys", stdout=told)
    assert "2 keys sealed anew" in told.getvalue()
    assert f"key:{damaged.pk} does not open" in told.getvalue()
    assert "1 keys still lie under an earlier master key: keep its line" in told.getvalue()


def test_files_that_change_under_a_running_process_are_not_half_seen(
    device: Device, settings: Any, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    settings.TRUSTED_COMMAND_KEYS_FILE = public_bundle(bundle, new_key(tmp_path / "new.pem"))
    before = trust.anchors()
    public_bundle(bundle, settings.COMMAND_SIGNING_KEY_FILE)
    assert trust.anchors() == before
    bundle.unlink()
    assert trust.anchors() == before


def test_a_second_change_within_the_hour_is_sent_too_and_suspended_terminals_count(
    device: Device, settings: Any, tmp_path: Path
) -> None:
    for n in range(2):
        settings.TRUSTED_COMMAND_KEYS_FILE = public_bundle(tmp_path / f"{n}.pem", new_key(tmp_path / f"key{n}.pem"))
        deliver(device.hello())
        assert obey(device, "update_trust").state == "succeeded"
        assert trust.progress() == (1, 0, 0)
    Terminal.objects.update(state="suspended")
    settings.TRUSTED_COMMAND_KEYS_FILE = ""
    assert trust.progress()[:2] == (0, 1), "it may come back by `resume`, without enrolling"


def test_open_commands_by_an_earlier_key_are_counted(device: Device, settings: Any, tmp_path: Path) -> None:
    send_plain_command(terminal=terminal(), command_type="ping", actor="ops")
    settings.COMMAND_SIGNING_KEY_FILE = new_key(tmp_path / "new.pem")
    assert trust.progress()[2] == 1


def test_a_key_under_a_master_key_that_is_gone_says_which(settings: Any, tmp_path: Path) -> None:
    sealed = vault.seal(b"k" * 16, bound_to="key 1")
    other = tmp_path / "master"
    other.write_text(secrets.token_hex(32))
    settings.VAULT_MASTER_KEY_FILE = str(other)
    with pytest.raises(VaultError, match=f"its master key {sealed[: vault.HEAD].hex()} is not in the vault"):
        vault.unseal(sealed, bound_to="key 1")


def test_the_audit_key_is_replaced_and_old_anchors_still_count(
    register: Register, settings: Any, tmp_path: Path
) -> None:
    settings.AUDIT_ANCHOR_FILE = str(tmp_path / "anchors.jsonl")
    for serial in ("SN-1", "SN-2"):
        register(serial)
        chain.seal()
        assert anchors.write_anchor()
        old, settings.AUDIT_SIGNING_KEY_FILE = settings.AUDIT_SIGNING_KEY_FILE, new_key(tmp_path / f"{serial}.pem")
        settings.TRUSTED_AUDIT_KEYS_FILE = public_bundle(tmp_path / f"{serial}.pub", old)
        if serial == "SN-1":
            assert len(anchors.read_anchors()) == 1
    settings.TRUSTED_AUDIT_KEYS_FILE = ""
    with pytest.raises(Exception, match="does not verify"):
        anchors.read_anchors()


def test_the_protection_keys_offer_is_the_servers_and_for_this_device_and_key_alone(
    device: Device, register: Register
) -> None:
    key: Any = serialization.load_pem_private_key(device.memory.private_key_pem.encode(), None)
    offer = establish_protection_key(terminal(), key.public_key())["key_protection"]
    assert len(accept_signed_offer(device.memory, key, offer, "SN-1")) == 32
    stranger = ec.generate_private_key(ec.SECP256R1())
    for changed in ({"kcv": "000000"}, {"device_id": "SN-2"}, {"sig": ""}):
        with pytest.raises(EnrolmentFailed, match="not the server's"):
            accept_signed_offer(device.memory, key, {**offer, **changed}, "SN-1")
    with pytest.raises(EnrolmentFailed, match="another terminal or another key"):
        accept_signed_offer(device.memory, stranger, offer, "SN-1")
    with pytest.raises(EnrolmentFailed, match="another terminal or another key"):
        accept_signed_offer(device.memory, key, offer, "SN-2")
