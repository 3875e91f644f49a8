"""The accounts to which merchants' money is credited. A number is sealed; pages show its ends."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from terminals.common.words import choices
from terminals.estate.models import Merchant
from terminals.settlement.accounts.rules import AccountState


class SettlementAccount(models.Model):
    """A merchant's account, for one currency or for all; proposed by one person and approved by another."""

    merchant = models.ForeignKey(Merchant, on_delete=models.CASCADE, related_name="settlement_accounts")
    currency = models.CharField(
        max_length=3, blank=True, help_text="ISO 4217; empty for every currency without its own"
    )
    holder = models.CharField(max_length=140, help_text="As the bank knows it")
    country = models.CharField(max_length=2)
    bic = models.CharField("BIC", max_length=11, blank=True)
    masked = models.CharField("number", max_length=20)
    sealed_number = models.BinaryField()
    state = models.CharField(max_length=10, choices=choices(AccountState), default=AccountState.PROPOSED.value)
    proposed_by = models.CharField(max_length=150)
    proposed_at = models.DateTimeField(db_default=Now())
    decided_by = models.CharField(max_length=150, blank=True)
    decided_at = models.DateTimeField(null=True)

    placed_by = "merchant__path"
    not_audited = ("sealed_number",)

    class Meta:
        ordering = ["-id"]
        permissions = [("approve_settlementaccount", "Can approve settlement accounts")]
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "currency"],
                condition=Q(state=AccountState.ACTIVE.value),
                name="one_active_account_a_currency",
            ),
            models.UniqueConstraint(
                fields=["merchant", "currency"],
                condition=Q(state=AccountState.PROPOSED.value),
                name="one_proposed_account_a_currency",
            ),
            models.CheckConstraint(
                condition=Q(state=AccountState.PROPOSED.value, decided_by="")
                | Q(state=AccountState.REJECTED.value)
                | (
                    Q(state__in=[AccountState.ACTIVE.value, AccountState.REPLACED.value])
                    & ~Q(decided_by="")
                    & ~Q(decided_by=F("proposed_by"))
                ),
                name="account_approved_by_another",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.masked} ({self.currency or '*'})"
