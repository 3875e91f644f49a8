"""The device CA of a local installation: under a root whose key lies in STATE_DIR, where a company's would lie in a safe."""

from pathlib import Path

from cryptography import x509
from django.conf import settings
from django.db import transaction

from fleet.local import pki
from terminals.enrolment import authority
from terminals.enrolment.models import DeviceCA

ACTOR = "make run"


@transaction.atomic
def ensure() -> None:
    """Have a CA issue, where none does yet."""
    if not DeviceCA.objects.filter(issues=True).exists():
        replace()


@transaction.atomic
def replace() -> DeviceCA:
    """Let another CA issue from now on; what the one before issued goes on holding."""
    certificate = Path(settings.DEVICE_CA_CERTIFICATE_FILE)
    root_pem, root_key_pem = (
        certificate.read_bytes(),
        certificate.with_name(certificate.name[:-8] + ".key.pem").read_bytes(),
    )
    root = x509.load_pem_x509_certificate(root_pem)
    if (
        root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    ):  # it can only issue itself
        return authority.adopt(root_key_pem, root_pem.decode(), actor=ACTOR)
    number = DeviceCA.objects.count() + 1
    begun = authority.begin(name=f"Tillwarden device CA {number} (local)", actor=ACTOR)
    signed = pki.ca_signed_pem(begun.request_pem, root_key_pem=root_key_pem, root_pem=root_pem)
    return authority.install(signed, actor=ACTOR)
