"""The custodian's side of the ceremony, for a machine without network, database or settings.

    python -m firmware.tuf key root-ann.pem               make a key pair: root-ann.pem (secret) and root-ann.pub.pem
    python -m firmware.tuf show 1.root.json               what a document says, and who signed it
    python -m firmware.tuf sign 1.root.json root-ann.pem  add one signature

A key may lie in an HSM or a key-management service instead: `sign DOCUMENT hsm:2?label=... --public-key root-ann.pub.pem`
(any address that securesystemslib knows). The passphrase is asked for, or is the first line of `--passphrase-file`.
"""

import argparse
import getpass
import sys
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Root

from firmware.tuf import documents
from terminals.common.errors import Refusal

_PEM = serialization.Encoding.PEM


def make_key(path: Path, passphrase: str) -> Path:
    """Write a new EC P-256 key (mode 0600, encrypted under the passphrase) and its public half beside it; return the latter."""
    public_path = path.with_suffix(".pub.pem")
    if path.exists() or public_path.exists():
        raise Refusal("key_exists", "%(path)s or its public half exists already; nothing was written", path=path)
    key = ec.generate_private_key(ec.SECP256R1())
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        lock = serialization.BestAvailableEncryption(passphrase.encode())
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, lock))
    public_path.write_bytes(key.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return public_path


def signer_of(key: str, passphrase: str, public_path: str = "") -> Signer:
    """Return the signer that a key file or an address of securesystemslib means; raise Refusal where it does not open."""
    if public_path:
        return Signer.from_priv_key_uri(
            key, documents.public_key(Path(public_path).read_bytes()), lambda _what: passphrase
        )
    try:
        secret = serialization.load_pem_private_key(Path(key).read_bytes(), passphrase.encode() or None)
        return CryptoSigner(secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Refusal("key_not_opened", "%(key)s does not open: %(error)s", key=key, error=error) from None


def sign_file(path: Path, signer: Signer) -> None:
    """Add a signature to a document's file."""
    document = documents.read(path.read_bytes())
    documents.sign(document, signer)
    path.write_bytes(documents.written(document))


def told(path: Path) -> str:
    """Return what a custodian must see before he signs: role, version, end, keys, thresholds, and who signed already."""
    document = documents.read(path.read_bytes())
    signed = document.signed
    lines = [f"{signed.type}, version {signed.version}, until {signed.expires:%Y-%m-%d %H:%M} UTC"]
    if isinstance(signed, Root):
        for name, role in signed.roles.items():
            lines.append(f"  {name}: {role.threshold} of {len(role.keyids)}: {' '.join(k[:16] for k in role.keyids)}")
    else:
        for platform, delegated in documents.delegations(signed).items():
            keys = " ".join(keyid[:16] for keyid in delegated.keyids)
            lines.append(f"  releases for {platform}: {delegated.threshold} of {len(delegated.keyids)}: {keys}")
        for name, target in sorted(signed.targets.items()):
            lines.append(f"  {name}: {target.length} bytes, SHA-256 {target.hashes['sha256']}")
    lines.append(f"signed by: {' '.join(keyid[:16] for keyid in document.signatures) or 'nobody'}")
    return "\n".join(lines)


def _passphrase(path: str, prompt: str) -> str:
    if path:
        return (Path(path).read_text().splitlines() or [""])[0]
    return getpass.getpass(prompt) if sys.stdin.isatty() else ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m firmware.tuf", description="The custodian's side of the ceremony.")
    steps = parser.add_subparsers(dest="step", required=True)
    key = steps.add_parser("key", help="make a key pair")
    key.add_argument("file")
    steps.add_parser("show", help="what a document says").add_argument("document")
    sign = steps.add_parser("sign", help="add one signature")
    sign.add_argument("document")
    sign.add_argument("key", help="key file, or an address that securesystemslib knows")
    sign.add_argument("--public-key", default="", help="PEM; only for an address")
    for one in (key, sign):
        one.add_argument("--passphrase-file", default="")
    return parser.parse_args()


def main() -> int:
    given = _arguments()
    try:
        if given.step == "key":
            passphrase = _passphrase(given.passphrase_file, "Passphrase of the new key: ")
            print(f"{make_key(Path(given.file), passphrase)} goes into the root document")  # noqa: T201 - a command
        elif given.step == "show":
            print(told(Path(given.document)))  # noqa: T201
        else:
            passphrase = _passphrase(given.passphrase_file, "Passphrase of the key: ")
            sign_file(Path(given.document), signer_of(given.key, passphrase, given.public_key))
            print(told(Path(given.document)))  # noqa: T201
    except (Refusal, OSError) as error:
        print(f"Refused: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
