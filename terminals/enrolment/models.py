"""Activation codes and the certificates that came of them."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from terminals.common.words import choices
from terminals.enrolment.rules import RequestState
from terminals.estate.models import Terminal


class ActivationCode(models.Model):
    """A one-time code for one terminal. Only its hash is kept; it is shown once, when it is made."""

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="activation_codes")
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the code")
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=150)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True, help_text="When somebody at the device said that it is this terminal")
    claimed_by = models.CharField(max_length=150, blank=True)

    placed_by = "terminal__path"

    class Meta:
        permissions = [("claim_terminal", "Can claim terminals where they are installed")]

    def __str__(self) -> str:
        return f"code for {self.terminal_id}"


class DeviceCA(models.Model):
    """A CA of terminals' certificates, its key sealed in the vault. One issues; earlier ones still list what they revoked."""

    key_id = models.CharField(max_length=40, unique=True, help_text="Subject key identifier, hexadecimal")
    sealed_key = models.BinaryField()
    request_pem = models.TextField(blank=True, help_text="For the root to sign; empty for a CA that was adopted")
    certificate_pem = models.TextField(blank=True, help_text="Empty until the root has signed it")
    not_after = models.DateTimeField(null=True)
    issues = models.BooleanField(default=False)
    crl_pem = models.TextField(blank=True)
    crl_number = models.PositiveBigIntegerField(default=0)
    crl_made_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["issues"], condition=Q(issues=True), name="one_ca_issues")]

    def __str__(self) -> str:
        return self.key_id


class Certificate(models.Model):
    """A client certificate of the device CA. A terminal's latest is current; while it renews, the one before holds, too."""

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="certificates")
    ca = models.ForeignKey(DeviceCA, on_delete=models.PROTECT, null=True, related_name="certificates")
    current = models.BooleanField(default=True)
    serial_number = models.CharField(max_length=40, unique=True, help_text="Hexadecimal")
    public_key_digest = models.CharField(max_length=64, help_text="SHA-256 of the SubjectPublicKeyInfo")
    pem = models.TextField()
    not_after = models.DateTimeField()
    issued_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True, help_text="When the terminal first signed with its key")
    revoked_at = models.DateTimeField(null=True)
    listed = models.BooleanField(default=False, help_text="Its revocation is in the CA's list")
    reminded_at = models.DateTimeField(null=True, help_text="When the terminal was last told to renew it")

    placed_by = "terminal__path"

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["not_after"], condition=Q(current=True, revoked_at=None), name="certificate_by_end"),
            models.Index(fields=["ca"], condition=Q(revoked_at__isnull=False), name="certificate_revoked"),
            models.Index(
                fields=["ca"], condition=Q(revoked_at__isnull=False, listed=False), name="certificate_to_list"
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["terminal"], condition=Q(current=True), name="one_current_certificate"),
            # A key that two terminals share is a copied terminal.
            models.UniqueConstraint(fields=["public_key_digest"], name="device_key_used_once"),
        ]

    def __str__(self) -> str:
        return self.serial_number


class HeldTrust(models.Model):
    """Which trust anchors a terminal said that it holds."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, primary_key=True, related_name="held_trust")
    trust = models.CharField(max_length=64, help_text="Digest of the anchors")
    offered = models.CharField(max_length=64, blank=True, help_text="Digest of the anchors that it was last sent")
    offered_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.terminal_id} {self.trust}"


class EnrolmentRequest(models.Model):
    """A device that nobody registered and that asks to enrol (queue.py). It has no place before it is let in: until then it is
    for those who work everywhere."""

    serial = models.CharField(max_length=32)
    public_key_digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the SubjectPublicKeyInfo")
    address = models.CharField(max_length=45, help_text="Where it asked from")
    state = models.CharField(max_length=10, choices=choices(RequestState), default=RequestState.WAITING.value)
    asked_at = models.DateTimeField(db_default=Now())
    last_asked_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=150, blank=True)
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, null=True, related_name="+")

    placed_by = "terminal__path"

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["address"], condition=Q(state=RequestState.WAITING.value), name="request_waiting")
        ]

    def __str__(self) -> str:
        return f"{self.serial} {self.fingerprint}"

    @property
    def fingerprint(self) -> str:
        """The first 64 bits of the key's digest, as the device can show it."""
        return "-".join(self.public_key_digest[start : start + 4] for start in range(0, 16, 4))
