"""Whom a terminal trusts, and how it keeps its certificate, after its enrolment."""

from typing import Annotated

from msgspec import Meta, Struct

from terminals.link.protocol.messages.base import CommandType, Inbound, Word

Pem = Annotated[str, Meta(max_length=4096)]


class UpdateTrust(Struct):
    """Replace the trust anchors of enrolment by these, all of them, and report `trust` in every hello from then on.

    Signed by a key that the terminal trusts already. From then on it takes commands by each of `command_signing_keys`.
    `release_root` is for a terminal that has none yet: one that has follows the repository from root to root, and takes none
    from here.
    """

    trust: Word
    device_ca: Annotated[str, Meta(max_length=16384, description="PEM, one or more CA certificates")]
    command_signing_keys: Annotated[list[Pem], Meta(min_length=1, max_length=4)]
    release_signing_keys: Annotated[list[Pem], Meta(min_length=1, max_length=4)]
    release_root: Annotated[
        str, Meta(max_length=32768, description="root document of the release repository (TUF)")
    ] = ""
    broker_ca: Annotated[
        str, Meta(max_length=16384, description="PEM: who signs the broker's certificate; empty: a public CA")
    ] = ""


class RenewCertificate(Struct):
    """Renew the certificate now, over a new key pair, by `certificate_request`."""


class InstallCertificate(Struct):
    """The answer to `certificate_request`: sign with the new key and connect with this certificate from now on.

    Refuse one that is over another key than the one last asked for, or for another device id.
    """

    certificate: Annotated[str, Meta(max_length=16384, description="PEM: yours, then the CAs between it and the root")]


class CertificateRequest(Struct):
    """A request for a new certificate, as a message signed by the key that is in use. Renew at two thirds of a certificate's
    life. Until `install_certificate` comes the present key and certificate go on; ask again after a day, for the same key.
    """

    csr: Annotated[str, Meta(max_length=8192, description="PEM, PKCS#10 over a new key, as at enrolment")]


_PEM = "-----BEGIN PUBLIC KEY-----..."
INBOUND = (Inbound("certificate_request", "event", True, CertificateRequest("-----BEGIN CERTIFICATE REQUEST-----...")),)
# What a suspended terminal is sent, too: else it could not come back.
OF_IDENTITY = ("install_certificate", "renew_certificate")
COMMANDS = (
    CommandType("renew_certificate", RenewCertificate()),
    CommandType("install_certificate", InstallCertificate("-----BEGIN CERTIFICATE-----...")),
    CommandType(
        "update_trust",
        UpdateTrust("3f1c0a9be24d7755", "-----BEGIN CERTIFICATE-----...", [_PEM, _PEM], [_PEM]),
    ),
)
