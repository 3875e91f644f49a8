"""The built-in device CA: issues terminals' client certificates (X.509, RFC 5280)."""

from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings

from terminals.link.protocol import signing

LIFETIME = timedelta(days=365)
BACKDATED = timedelta(minutes=5)  # terminals' clocks run late


@lru_cache(maxsize=2)
def _certificate(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def ca_certificates_pem() -> str:
    """Return the bundle of CAs that are trusted: the first issues, the others' certificates still hold."""
    return _bundle(settings.DEVICE_CA_CERTIFICATE_FILE)


@lru_cache(maxsize=2)
def _bundle(path: str) -> str:
    return Path(path).read_text()  # once per process, like the key and the certificate that issue


def issue(
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, *, device_id: str, now: datetime
) -> x509.Certificate:
    """Issue a client certificate whose only name is CN=device_id, valid for LIFETIME from `now`."""
    ca, ca_key = _certificate(settings.DEVICE_CA_CERTIFICATE_FILE), signing.private_key(settings.DEVICE_CA_KEY_FILE)
    not_agreement = {"content_commitment": False, "key_encipherment": False, "data_encipherment": False}
    usage = x509.KeyUsage(
        digital_signature=True,
        key_agreement=isinstance(public_key, ec.EllipticCurvePublicKey),
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
        **not_agreement,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id)]))
        .issuer_name(ca.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
