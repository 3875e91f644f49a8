"""The device CA: issues terminals' client certificates and lists those that it revoked (X.509 and CRL, RFC 5280).

Its private key lies sealed in the vault and is open only while it signs. It stands under a root that terminals and brokers trust
(DEVICE_CA_CERTIFICATE_FILE), so that another can take its place without their knowing: a terminal shows the CA's certificate
beside its own. A CA that issues no more goes on listing what it revoked for as long as its certificates last.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from terminals.common import vault
from terminals.common.audit import services as audit
from terminals.common.errors import Refusal
from terminals.enrolment.models import Certificate, DeviceCA
from terminals.link.protocol.signing import PrivateKey, PublicKey

CLOSED = ("no_device_ca", "device_ca_expired", "device_ca_closed")  # refusals that say nothing of who asks
LIFETIME = timedelta(days=90)
BACKDATED = timedelta(minutes=5)  # terminals' clocks run late
REVOCATIONS_LAST = timedelta(days=7)  # how long a broker may use a list that it cannot get anew


def ca_certificates_pem() -> str:
    """Return the roots that are trusted for terminals' certificates."""
    return _bundle(settings.DEVICE_CA_CERTIFICATE_FILE)


@lru_cache(maxsize=4)
def _bundle(path: str) -> str:
    return Path(path).read_text()  # once per process, like the other trust


@transaction.atomic
def begin(*, name: str, actor: str) -> DeviceCA:
    """Make a key in the vault for a device CA to come; its `request_pem` is for the root to sign, and `install` brings the
    certificate. Raise Refusal for the name of another."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    _refuse_another_of(subject, _key_id_of(key.public_key()))
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    ca = _sealed(key, request_pem=request.public_bytes(Encoding.PEM).decode())
    audit.record(actor=actor, action="device_ca.begin", subject=f"device_ca/{ca.key_id}", detail={"name": name})
    return ca


@transaction.atomic
def install(certificate_pem: str, *, actor: str) -> DeviceCA:
    """Let the CA to whose key a certificate belongs issue from now on; raise Refusal where it is none that could."""
    certificate = _checked(certificate_pem)
    ca = DeviceCA.objects.select_for_update().filter(key_id=_key_id(certificate)).first()
    if ca is None:
        raise Refusal("unknown_key", "this certificate belongs to no key in the vault; `device_ca request` makes one")
    return _let_issue(ca, certificate, actor)


@transaction.atomic
def adopt(key_pem: bytes, certificate_pem: str, *, actor: str) -> DeviceCA:
    """Take the key of a CA that there is already into the vault, and let it issue from now on."""
    certificate = _checked(certificate_pem)
    key = serialization.load_pem_private_key(key_pem, None)
    if (
        not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        or key.public_key() != certificate.public_key()
    ):
        raise Refusal("wrong_key", "this is not the private key of that certificate")
    known = DeviceCA.objects.select_for_update().filter(key_id=_key_id(certificate)).first()
    ca = _let_issue(known or _sealed(key), certificate, actor)
    Certificate.objects.filter(ca=None).update(ca=ca)  # before the vault held it, there was no other
    return ca


def issuer() -> "Issuer":
    """Open the CA that issues; raise Refusal where there is none yet."""
    ca = DeviceCA.objects.filter(issues=True).first()
    if ca is not None and ca.not_after is not None and ca.not_after <= timezone.now():
        raise Refusal("device_ca_expired", "the device CA has run out; an administrator runs `manage.py device_ca`")
    if ca is None:
        raise Refusal(
            "no_device_ca", "no device CA issues certificates yet; an administrator runs `manage.py device_ca`"
        )
    return Issuer(ca)


class Issuer:
    """The CA that issues. Its key is opened for the first signature; it is not to be kept for longer than it takes to sign."""

    def __init__(self, row: DeviceCA) -> None:
        self.row = row
        self._ca = x509.load_pem_x509_certificate(row.certificate_pem.encode())
        self._key_identifier = _authority_key_identifier(self._ca)

    @cached_property
    def _key(self) -> PrivateKey:
        try:
            return unsealed(self.row)
        except vault.VaultError:
            raise Refusal("device_ca_closed", "the vault does not open the device CA's key") from None

    def issue(self, public_key: PublicKey, *, device_id: str, now: datetime) -> x509.Certificate:
        """Issue a client certificate whose only name is CN=device_id, valid for LIFETIME from `now`, or as long as the CA."""
        usage = x509.KeyUsage(
            digital_signature=True,
            key_agreement=isinstance(public_key, ec.EllipticCurvePublicKey),
            key_cert_sign=False,
            crl_sign=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id)]))
            .issuer_name(self._ca.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(min(now + LIFETIME, self._ca.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(self._key_identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )


def chain(certificate_pem: str, ca: DeviceCA | None) -> str:
    """Return what a terminal shows when it connects: its certificate and, unless a root issued it, the CA's."""
    if ca is None:
        return certificate_pem
    issuer = x509.load_pem_x509_certificate(ca.certificate_pem.encode())
    return certificate_pem + ("" if issuer.issuer == issuer.subject else ca.certificate_pem)


def revocation_list(
    row: DeviceCA, revoked: Iterable[tuple[str, datetime | None]], *, number: int, now: datetime
) -> str:
    """Return a CA's CRL in PEM over (certificate's serial number in hexadecimal, when it was revoked)."""
    ca, ca_key = x509.load_pem_x509_certificate(row.certificate_pem.encode()), unsealed(row)
    entries = []
    for serial_number, revoked_at in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(int(serial_number, 16))
        entries.append(entry.revocation_date(revoked_at or now).build())
    builder = (
        x509.CertificateRevocationListBuilder(revoked_certificates=entries)  # one by one each would copy all before it
        .issuer_name(ca.subject)
        .last_update(now - BACKDATED)
        .next_update(now + REVOCATIONS_LAST)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key_identifier(ca), critical=False)
    )
    return builder.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _authority_key_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return what names the CA's key as its own certificate names it; roots have ways of their own to derive it."""
    try:
        said = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(said)


def _checked(certificate_pem: str) -> x509.Certificate:
    """Return a CA's certificate that a root signed, or is; raise Refusal for any other."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise Refusal("bad_certificate", "this is not the certificate of a CA: %(error)s", error=str(error)) from None
    if not (constraints.ca and usage.key_cert_sign and usage.crl_sign):
        raise Refusal("bad_certificate", "its certificate does not let it sign certificates and revocation lists")
    if not certificate.not_valid_before_utc <= timezone.now() < certificate.not_valid_after_utc:
        raise Refusal("bad_certificate", "its certificate does not hold now")
    roots = x509.load_pem_x509_certificates(ca_certificates_pem().encode())
    if not any(_signed_by(certificate, root) for root in roots):
        raise Refusal(
            "untrusted_ca",
            "no certificate in DEVICE_CA_CERTIFICATE_FILE signed it; terminals and brokers would not trust it",
        )
    return certificate


def _signed_by(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _refuse_another_of(subject: x509.Name, key_id: str) -> None:
    """Raise Refusal where a CA of another key has this name: brokers find an issuer's list of revoked certificates by it."""
    others = (
        DeviceCA.objects.exclude(key_id=key_id).exclude(certificate_pem="").values_list("certificate_pem", flat=True)
    )
    if any(x509.load_pem_x509_certificate(pem.encode()).subject == subject for pem in others):
        name = subject.rfc4514_string()
        raise Refusal("known_name", "another device CA is called %(name)s; give each a name of its own", name=name)


def _let_issue(ca: DeviceCA, certificate: x509.Certificate, actor: str) -> DeviceCA:
    _refuse_another_of(certificate.subject, ca.key_id)
    DeviceCA.objects.filter(issues=True).exclude(pk=ca.pk).update(issues=False)
    ca.certificate_pem = certificate.public_bytes(Encoding.PEM).decode()
    ca.not_after, ca.issues = certificate.not_valid_after_utc, True
    ca.save()
    detail = {"name": certificate.subject.rfc4514_string(), "not_after": ca.not_after.isoformat()}
    audit.record(actor=actor, action="device_ca.install", subject=f"device_ca/{ca.key_id}", detail=detail)
    return ca


def _sealed(key: PrivateKey, *, request_pem: str = "") -> DeviceCA:
    form = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_id = _key_id_of(key.public_key())
    sealed = vault.seal(key.private_bytes(*form), bound_to=_place(key_id))
    return DeviceCA.objects.create(key_id=key_id, sealed_key=sealed, request_pem=request_pem)


def unsealed(ca: DeviceCA) -> PrivateKey:
    """Return a CA's private key, to be kept for no longer than it takes to sign; raise VaultError where the vault is shut."""
    content = vault.unseal(bytes(ca.sealed_key), bound_to=_place(ca.key_id))
    # It is as we sealed it, or the vault would not open it; trying the primes of an RSA key anew takes up to 0.4 s.
    key = serialization.load_der_private_key(content, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)  # noqa: S101 - nothing else was sealed
    return key


def _place(key_id: str) -> str:
    return f"device_ca/{key_id}"


def _key_id(certificate: x509.Certificate) -> str:
    return _key_id_of(certificate.public_key())


def _key_id_of(public_key: CertificatePublicKeyTypes) -> str:
    return x509.SubjectKeyIdentifier.from_public_key(public_key).digest.hex()


@transaction.atomic
def reseal() -> int:
    """Seal the CAs' keys under the present master key; return how many there are."""
    rows = list(DeviceCA.objects.select_for_update())
    for ca in rows:
        clear = vault.unseal(bytes(ca.sealed_key), bound_to=_place(ca.key_id))
        ca.sealed_key = vault.seal(clear, bound_to=_place(ca.key_id))
        ca.save(update_fields=["sealed_key"])
    return len(rows)
