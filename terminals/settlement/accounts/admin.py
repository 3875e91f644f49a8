"""Settlement accounts in the admin: proposed on a form, decided about on their page. A number is shown without its middle."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from terminals.common.admin_base import AuditedAdmin
from terminals.common.errors import Refusal
from terminals.common.fresh import require_fresh_login
from terminals.common.scope import holds
from terminals.common.words import sentence
from terminals.settlement.accounts import services
from terminals.settlement.accounts.models import SettlementAccount
from terminals.settlement.accounts.rules import AccountState


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]
    """What is typed once, and never shown again whole."""

    number = forms.CharField(
        max_length=40,
        label=_("Number"),
        widget=UnfoldAdminTextInputWidget,
        help_text=_("IBAN, or the form of a country"),
    )
    local_country = forms.CharField(
        max_length=2,
        required=False,
        label=_("Country of a local form"),
        widget=UnfoldAdminTextInputWidget,
        help_text=_("Empty for an IBAN; US (routing/account), NZ, NO or CZ for theirs"),
    )

    class Meta:
        model = SettlementAccount
        fields = ["merchant", "currency", "holder", "bic"]


@admin.register(SettlementAccount)
class SettlementAccountAdmin(AuditedAdmin):
    form = AccountForm
    list_display = ["merchant", "currency", "holder", "masked", "bic", "shown_state", "proposed_by", "decided_by"]
    list_filter = ["state"]
    list_select_related = ["merchant"]
    search_fields = ["merchant__name", "holder"]
    autocomplete_fields = ["merchant"]
    actions_detail = ["approve_account", "reject_account"]
    shown = ["merchant", "currency", "holder", "masked", "country", "bic", "state_in_words"]
    shown += ["proposed_by", "proposed_at", "decided_by", "decided_at"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # another account is another proposal

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.shown if obj else ["merchant", "currency", "holder", "number", "local_country", "bic"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.shown if obj else []

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["fields"] = [] if obj else ["merchant", "currency", "holder", "bic"]
        return super().get_form(request, obj, change=change, **kwargs)

    def save_model(self, request: HttpRequest, obj: SettlementAccount, form: Any, change: bool) -> None:
        said = form.cleaned_data
        made = services.propose(
            merchant=said["merchant"],
            holder=said["holder"],
            number=said["number"],
            country=said["local_country"],
            bank=said["bic"],
            currency=said["currency"],
            actor=request.user.get_username(),
        )
        obj.pk = made.pk
        messages.info(request, gettext("It counts as soon as somebody else has approved it."))

    @action(description=_("Approve"), url_path="approve", permissions=["decide"])  # type: ignore[untyped-decorator]
    def approve_account(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._decide(request, object_id, services.approve)

    @action(description=_("Reject"), url_path="reject", permissions=["decide"])  # type: ignore[untyped-decorator]
    def reject_account(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._decide(request, object_id, services.reject)

    def has_decide_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        account = SettlementAccount.objects.filter(pk=object_id, state=AccountState.PROPOSED).first()
        return account is not None and holds(request.user, services.APPROVE, account)

    def _decide(self, request: HttpRequest, object_id: str, verb: Any) -> HttpResponse:
        account = self.get_queryset(request).get(pk=object_id)
        if not holds(request.user, services.APPROVE, account):
            raise PermissionDenied
        require_fresh_login(request, services.APPROVE)
        try:
            verb(account=account, actor=request.user.get_username())
        except Refusal as refusal:
            messages.error(request, sentence(refusal))
        else:
            messages.success(request, gettext("Done: it is %(state)s.") % {"state": account.get_state_display()})
        return redirect("admin:settlement_settlementaccount_change", object_id)
