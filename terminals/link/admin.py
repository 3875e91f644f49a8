"""Commands and dead letters in the admin: to look at."""

from django.contrib import admin

from terminals.common.admin_base import RecordAdmin
from terminals.link.models import Command, DeadLetter


@admin.register(Command)
class CommandAdmin(RecordAdmin):
    list_display = ["created_at", "terminal", "type", "state", "percent", "code", "requested_by", "attempts"]
    list_filter = ["state"]
    list_select_related = ["terminal"]
    search_fields = ["=type", "terminal__serial"]
    exclude = ["payload"]
    readonly_fields = ["message"]

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
