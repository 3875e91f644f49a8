"""The certificates of a local installation: a CA for its own services, which signs the broker's certificate and the links'.

In production they come from wherever a company's certificates come from; terminals' certificates have another CA, which is
Tillwarden's own (terminals/enrolment).
"""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=3650)
LINK_NAME = "tillwarden-link"  # as deploy/mosquitto/links.acl has it


def new_private_key_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


def self_signed_ca_pem(key_pem: bytes, name: str = "Tillwarden device CA (local)", path_length: int = 0) -> str:
    """Return the certificate of a CA that signs itself."""
    key = _key(key_pem)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = _builder(subject, subject, key.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=path_length), critical=True
    )
    return _pem(certificate.add_extension(_usage(signs_certificates=True), critical=True).sign(key, hashes.SHA256()))


def signed_pem(key_pem: bytes, name: str, *, ca_key_pem: bytes, ca_pem: bytes, server: bool) -> str:
    """Return a certificate for a server on this machine, or for a client."""
    ca, subject = x509.load_pem_x509_certificate(ca_pem), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = (
        _builder(subject, ca.subject, _key(key_pem).public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(_key(ca_key_pem).public_key()), critical=False
        )
    )
    if server:
        here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = certificate.add_extension(x509.SubjectAlternativeName(here), critical=False)
    return _pem(certificate.sign(_key(ca_key_pem), hashes.SHA256()))


def ca_signed_pem(request_pem: str, *, root_key_pem: bytes, root_pem: bytes) -> str:
    """Return the certificate of a CA under a root, as its request (PKCS#10) asks for it."""
    request, root = x509.load_pem_x509_csr(request_pem.encode()), x509.load_pem_x509_certificate(root_pem)
    public_key = request.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)  # noqa: S101 - the vault made it
    certificate = (
        _builder(request.subject, root.subject, public_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(_key(root_key_pem).public_key()), critical=False
        )
    )
    return _pem(certificate.sign(_key(root_key_pem), hashes.SHA256()))


def make_services(folder: Path) -> None:
    """Make what is missing of the services' CA, the broker's certificate and the links'."""
    ca_key, ca = _written(folder / "services_ca.key.pem"), folder / "services_ca.crt.pem"
    if not ca.exists():
        ca.write_text(self_signed_ca_pem(ca_key, "Tillwarden services CA (local)"))
    for file, name, server in (("broker", "localhost", True), ("link", LINK_NAME, False)):
        key = _written(folder / f"{file}.key.pem")
        certificate = folder / f"{file}.crt.pem"
        if not certificate.exists():
            certificate.write_text(signed_pem(key, name, ca_key_pem=ca_key, ca_pem=ca.read_bytes(), server=server))


def _written(path: Path) -> bytes:
    """Return a private key's PEM, made where it is missing, for its owner alone to read."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(new_private_key_pem())
    return path.read_bytes()


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - we wrote it ourselves
    return key


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
