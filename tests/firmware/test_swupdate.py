"""Debian's SWUpdate, the open updater of embedded Linux, installs a release by hawkBit's device interface."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pytest_django.live_server_helper import LiveServer

from firmware.ddi.services import issue_token
from firmware.models import Installation, InstalledSoftware, Release
from firmware.services import assign_release
from terminals.estate.models import Terminal
from tests.conftest import wait_until
from tests.releases import ready

Register = Callable[[str], Terminal]
SWUPDATE = shutil.which("swupdate")

DESCRIPTION = """software =
{{
  version = "2.0.0";
  hardware-compatibility: [ "1.0" ];
  files: ( {{ filename = "pay.bin"; path = "{path}"; sha256 = "{sha256}"; }} );
}}
"""


def _entry(name: str, content: bytes) -> bytes:
    """Return one file of a cpio archive (newc with sums, as SWUpdate reads it)."""
    total = sum(content) & 0xFFFFFFFF
    numbers = (1, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, total)
    head = b"070702" + b"".join(b"%08X" % number for number in numbers) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)


def image(folder: Path, target: Path) -> tuple[bytes, Path]:
    """Return a signed image that writes one file, and the certificate that its device trusts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "builder")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted = folder / "builder.pem"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    software = b"payment software 2.0.0"
    digest = hashes.Hash(hashes.SHA256())
    digest.update(software)
    description = DESCRIPTION.format(path=target, sha256=digest.finalize().hex()).encode()
    signature = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(description)
        .add_signer(certificate, key, hashes.SHA256())
        .sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary])
    )
    files = {"sw-description": description, "sw-description.sig": signature, "pay.bin": software}
    return b"".join(_entry(*one) for one in files.items()) + _entry("TRAILER!!!", b""), trusted


class SWUpdate:
    """Debian's SWUpdate in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.log = folder, folder / "swupdate.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        """Return when it has asked the server. On a busy machine its loop may begin and never ask (2022.12); so start anew."""
        self.log.touch()
        for _ in range(5):
            before = self.log.stat().st_size
            argv, environment = [str(SWUPDATE), *arguments], {**os.environ, "TMPDIR": str(self._folder)}
            with self.log.open("ab") as log:
                process = subprocess.Popen(argv, cwd=self._folder, env=environment, stdout=log, stderr=log)
            self._process = process
            with suppress(AssertionError):
                wait_until(partial(self._has_asked, before), "it asks", 15)
                return
            if process.poll() is not None:
                break
            self.stop()
        raise AssertionError(self.said().decode("utf-8", "replace")[-3000:])

    def _has_asked(self, since: int) -> bool:
        return b"Update action" in self.said()[since:]

    def said(self) -> bytes:
        return self.log.read_bytes()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)


@pytest.fixture
def swupdate(tmp_path: Path) -> Iterator[SWUpdate]:
    running = SWUpdate(tmp_path)
    yield running
    running.stop()


@pytest.mark.skipif(SWUPDATE is None, reason="Debian's swupdate is not installed")
def test_swupdate_installs_a_release_by_itself(
    transactional_db: None,
    register: Register,
    live_server: LiveServer,
    settings: Any,
    tmp_path: Path,
    swupdate: SWUpdate,
) -> None:
    settings.HAWKBIT_DDI, settings.PUBLIC_URL, settings.HAWKBIT_POLL_SECONDS = True, live_server.url, 1
    target = tmp_path / "installed.bin"
    content, trusted = image(tmp_path, target)
    terminal = register("SN-1")
    token = issue_token(terminal=terminal, actor="ops")
    release: Release = ready("2.0.0", content)
    Terminal.objects.filter(pk=terminal.pk).update(state="active")
    assign_release(release=release, terminals=[terminal], actor="ops")
    suricatta = f"-t DEFAULT -u {live_server.url} -i {terminal.device_id} -k {token} -p 1"
    usual = ("-l", "5", "-v", "-H", "till:1.0", "-k", str(trusted), "-M", "-m")
    swupdate.start(*usual, "-u", suricatta)
    wait_until(lambda: b"executing post-update actions" in swupdate.said(), "SWUpdate has written it", 60)
    assert Installation.objects.get().state == "installing", "it counts when the device runs it"
    swupdate.stop()  # the device restarts, and its start script says that it came up
    swupdate.start(*usual, "-u", f"{suricatta} -c 2")
    wait_until(lambda: Installation.objects.filter(state="installed").exists(), "SWUpdate confirms it", 60)
    assert target.read_bytes() == b"payment software 2.0.0"
    assert InstalledSoftware.objects.get(component="payment").version == "2.0.0"
