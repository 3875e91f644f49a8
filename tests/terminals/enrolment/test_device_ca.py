"""`manage.py device_ca`: a key in the vault, a certificate from a root that is kept elsewhere."""

import io
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import CommandError, call_command
from django.utils import timezone

from fleet.local import pki
from terminals.common.audit.models import AuditEntry
from terminals.enrolment import authority
from terminals.enrolment.models import DeviceCA

# As docs/operations.md has them.
MAKE_ROOT = """openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7300 -subj /CN=Root
 -addext basicConstraints=critical,CA:TRUE,pathlen:1 -addext keyUsage=critical,keyCertSign,cRLSign
 -keyout root.key.pem -out root.crt.pem"""
SIGN = """openssl x509 -req -in ca.csr.pem -CA root.crt.pem -CAkey root.key.pem -days 1100 -extfile ca.ext -out ca.crt.pem"""
EXTENSIONS = """basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


def device_ca(*arguments: str) -> str:
    out = io.StringIO()
    call_command("device_ca", *arguments, stdout=out)
    return out.getvalue()


def run(command: str, folder: Path) -> None:
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)


@pytest.fixture
def root(db: None, settings: Any, tmp_path: Path) -> Path:
    """A root in a folder of its own, as a company makes it."""
    run(MAKE_ROOT, tmp_path)
    (tmp_path / "ca.ext").write_text(EXTENSIONS)
    settings.DEVICE_CA_CERTIFICATE_FILE = str(tmp_path / "root.crt.pem")
    return tmp_path


def test_a_root_that_is_kept_elsewhere_signs_the_device_ca(root: Path) -> None:
    before = DeviceCA.objects.get(issues=True)
    (root / "ca.csr.pem").write_text(device_ca("request", "Example device CA 1"))
    assert DeviceCA.objects.get(issues=True) == before, "not before its certificate is here"
    run(SIGN, root)
    told = device_ca("install", str(root / "ca.crt.pem"))
    assert "CN=Example device CA 1, issues, holds until" in told
    assert "lists what it revoked" in device_ca("status")
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    certificate = authority.issuer().issue(key, device_id="SN-1", now=timezone.now())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((root / "ca.crt.pem").read_bytes()))
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["device_ca.begin", "device_ca.install"]


def test_what_could_not_issue_is_refused_and_the_one_before_goes_on(root: Path, tmp_path: Path) -> None:
    before = DeviceCA.objects.get(issues=True)
    stranger_key = pki.new_private_key_pem().encode()
    cases = {
        "stranger.pem": (pki.self_signed_ca_pem(stranger_key), "would not trust it"),
        "root.crt.pem": ((root / "root.crt.pem").read_text(), "belongs to no key in the vault"),
        "junk.pem": ("junk", "not the certificate of a CA"),
    }
    for name, (pem, says) in cases.items():
        (root / name).write_text(pem)
        with pytest.raises(CommandError, match=says):
            device_ca("install", str(root / name))
    with pytest.raises(CommandError, match="No such file"):
        device_ca("install", str(root / "missing.pem"))
    (root / "other.key.pem").write_bytes(stranger_key)
    with pytest.raises(CommandError, match="not the private key of that certificate"):
        device_ca("adopt", "--key", str(root / "other.key.pem"), "--certificate", str(root / "root.crt.pem"))
    assert DeviceCA.objects.get(issues=True) == before


def test_no_two_cas_have_one_name(root: Path) -> None:
    for name in ("first", "second"):
        (root / "ca.csr.pem").write_text(device_ca("request", "Example device CA"))
        run(SIGN, root)
        (root / "ca.crt.pem").rename(root / f"{name}.pem")
    device_ca("install", str(root / "first.pem"))
    first = DeviceCA.objects.get(issues=True)
    with pytest.raises(CommandError, match="another device CA is called CN=Example device CA"):
        device_ca("install", str(root / "second.pem"))
    with pytest.raises(CommandError, match="give each a name of its own"):
        device_ca("request", "Example device CA")
    device_ca("install", str(root / "first.pem"))  # its own certificate, once more
    assert DeviceCA.objects.get(issues=True) == first


def test_a_ca_that_there_is_already_moves_into_the_vault(root: Path) -> None:
    told = device_ca("adopt", "--key", str(root / "root.key.pem"), "--certificate", str(root / "root.crt.pem"))
    assert "CN=Root, issues" in told
    assert b"PRIVATE" not in bytes(DeviceCA.objects.get(issues=True).sealed_key)


def test_its_key_is_sealed_anew_with_the_vaults_other_keys(db: None, settings: Any, tmp_path: Path) -> None:
    keyring = tmp_path / "master"
    old = Path(settings.VAULT_MASTER_KEY_FILE).read_text().strip()
    keyring.write_text(f"{secrets.token_hex(32)}\n{old}\n")
    settings.VAULT_MASTER_KEY_FILE = str(keyring)
    assert authority.reseal() == 1
    keyring.write_text(keyring.read_text().splitlines()[0])
    authority.issuer()
