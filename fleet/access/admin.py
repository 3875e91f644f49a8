"""An operator's own API tokens in the admin. The pages that the log-in's library registers are not ours to show."""

from datetime import datetime, timedelta
from typing import Any

from allauth.account.decorators import secure_admin_login
from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fleet.access.models import ApiToken
from terminals.common.admin_base import AuditedAdmin, StateAdmin
from terminals.common.audit import services as audit

LONGEST_TOKEN = timedelta(days=3653)
LIBRARYS = ("account", "mfa", "socialaccount", "usersessions")


class OwnTokenForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = ApiToken
        fields = ["name", "role", "expiry"]
        help_texts = {"expiry": gettext_lazy("In your time zone; empty for a token that does not end")}

    def clean_expiry(self) -> datetime | None:
        expiry: datetime | None = self.cleaned_data["expiry"]
        if expiry and not timezone.now() < expiry < timezone.now() + LONGEST_TOKEN:
            raise ValidationError(_("choose a time from now on, within ten years"))
        return expiry


@admin.register(ApiToken)
class OwnTokenAdmin(AuditedAdmin):
    """An operator's own tokens: one for somebody else would be that person's identity in another's hand."""

    form = OwnTokenForm
    list_display = ["name", "token_key", "shown_role", "created", "expiry", "last_used_at"]
    list_select_related = ["role"]
    list_display_links = None  # there is nothing more to see: its own page would be headed by its digest

    @admin.display(description=gettext_lazy("may do"))
    def shown_role(self, token: ApiToken) -> str:
        return str(token.role) if token.role else _("all that you may")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Any role may narrow a token: it gives nothing."""
        return super(StateAdmin, self).formfield_for_foreignkey(db_field, request, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """One's own, wherever one works; there is nothing to narrow."""
        return super(StateAdmin, self).get_queryset(request).filter(user=request.user)  # type: ignore[no-any-return]

    def may(self, request: HttpRequest, verb: str, obj: Any = None) -> bool:
        return bool(request.user.has_perm(self.permission_to(verb))) and (
            obj is None or obj.user_id in (None, request.user.pk)
        )

    def refuse_beyond_reach(self, request: HttpRequest, obj: Any, change: bool) -> None:
        """A token stands nowhere in the tree."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        said = form.cleaned_data
        made, token = ApiToken.objects.create(user=request.user, name=said["name"], role=said["role"])
        ApiToken.objects.filter(pk=made.pk).update(expiry=said["expiry"])
        obj.pk = made.pk
        obj.refresh_from_db()
        obj.shown_once = token  # until `response_add` has told it
        audit.record(
            actor=request.user.get_username(),
            action="apitoken.create",
            subject=audit.subject_of(obj),
            detail={"name": obj.name, "role": str(obj.role or ""), "expiry": obj.expiry},
        )

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        """Show the token on this answer alone: a message would lie in the session."""
        context = admin.site.each_context(request) | {
            "title": _("Your API token"),
            "token": obj.shown_once,
            "role": obj.role,
        }
        answer = render(request, "pages/token_page.html", context)
        answer["Cache-Control"] = "no-store"
        return answer


# They would show and change accounts past the audit.
for _model in [one for one in admin.site._registry if one._meta.app_label in LIBRARYS]:
    admin.site.unregister(_model)
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
