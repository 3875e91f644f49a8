"""Commands and dead letters in the admin: to look at."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import RecordAdmin
from terminals.common.words import requester_name, word
from terminals.estate.admin import TerminalOwnedAdmin
from terminals.link.models import Command, DeadLetter
from terminals.link.services import READ_MESSAGE


@admin.register(Command)
class CommandAdmin(TerminalOwnedAdmin, RecordAdmin):
    list_display = [
        "created_at",
        "terminal",
        "shown_type",
        "shown_state",
        "percent",
        "code",
        "asked_by",
        "attempts",
    ]
    list_filter = ["state"]
    list_select_related = ["terminal"]
    search_fields = ["terminal__serial"]
    search_whole = ("type",)
    exclude = ["payload"]
    readonly_fields = ["trace_id", "message"]

    @admin.display(description=_("type"))
    def shown_type(self, command: Command) -> str:
        return word(command.type)

    @admin.display(description=_("requested by"))
    def asked_by(self, command: Command) -> str:
        return requester_name(command.requested_by)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        shown = ["terminal", "shown_type", "state_in_words", "percent", "code", "detail", "asked_by", "attempts"]
        shown += ["created_at", "sent_at", "answered_at", "finished_at", "expires_at", "next_attempt_at"]
        shown += ["trace_id"] if obj and obj.traceparent else []
        return [*shown, "message"] if obj and request.user.has_perm(READ_MESSAGE, obj) else shown

    @admin.display(description=_("trace id"))
    def trace_id(self, command: Command) -> str:
        """As tools for traces show it."""
        return command.traceparent.split("-")[1]

    @admin.display(description=_("message"))
    def message(self, command: Command) -> str:
        return bytes(command.payload).decode()


@admin.register(DeadLetter)
class DeadLetterAdmin(RecordAdmin):
    fields = ["topic", "shown_reason", "detail", "count", "payload_bytes", "first_at", "last_at", "message"]
    list_display = ["last_at", "shown_reason", "topic", "detail", "count"]
    search_fields = ["=reason", "topic"]
    exclude = ["payload"]
    readonly_fields = ["message"]

    @admin.display(description=_("reason"))
    def shown_reason(self, letter: DeadLetter) -> str:
        return word(letter.reason)

    @admin.display(description=_("detail"))
    def detail(self, letter: DeadLetter) -> str:
        return letter.detail

    @admin.display(description=_("message"))
    def message(self, letter: DeadLetter) -> str:
        return bytes(letter.payload).decode("utf-8", "backslashreplace")
