"""Commands and dead letters in the admin: to look at."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from terminals.common.admin_base import RecordAdmin
from terminals.link.models import Command, DeadLetter
from terminals.link.services import READ_MESSAGE


@admin.register(Command)
class CommandAdmin(RecordAdmin):
    list_display = ["created_at", "terminal", "type", "state", "percent", "code", "requested_by", "attempts"]
    list_filter = ["state"]
    list_select_related = ["terminal"]
    search_fields = ["=type", "terminal__serial"]
    exclude = ["payload"]
    readonly_fields = ["message"]

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["payload"] if request.user.has_perm(READ_MESSAGE) else ["payload", "message"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        left_out = self.get_exclude(request, obj)
        return [name for name in super().get_fields(request, obj) if name not in left_out]

    @admin.display(description="Message")
    def message(self, command: Command) -> str:
        return bytes(command.payload).decode()


@admin.register(DeadLetter)
class DeadLetterAdmin(RecordAdmin):
    list_display = ["last_at", "reason", "topic", "detail", "count"]
    search_fields = ["=reason", "topic"]
    exclude = ["payload"]
    readonly_fields = ["message"]

    @admin.display(description="Message")
    def message(self, letter: DeadLetter) -> str:
        return bytes(letter.payload).decode("utf-8", "backslashreplace")
