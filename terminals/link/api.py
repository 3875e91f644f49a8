"""Commands and dead letters in the API."""

from typing import Any

import msgspec
from rest_framework import serializers

from terminals.common.api.base import ReadViewSet
from terminals.common.api.serializers import ModelSerializer
from terminals.common.scope import reach_of
from terminals.link.models import Command, DeadLetter
from terminals.link.services import PLAIN_COMMANDS, READ_MESSAGE


class CommandSerializer(ModelSerializer[Command]):
    """`state` follows the terminal's word: `sent` only says that the broker has it."""

    message = serializers.SerializerMethodField(help_text="The signed message as the terminal gets it")

    class Meta:
        model = Command
        fields = [
            "id",
            "terminal",
            "type",
            "state",
            "percent",
            "code",
            "detail",
            "requested_by",
            "created_at",
            "expires_at",
            "sent_at",
            "answered_at",
            "finished_at",
            "attempts",
            "traceparent",
            "message",
        ]

    def get_message(self, command: Command) -> dict[str, Any] | None:
        """Null for who may not read whole messages: they hold key blocks and download links."""
        request = self.context.get("request")
        if request is None or not reach_of(request.user, READ_MESSAGE).covers(command.terminal.path):
            return None
        message: dict[str, Any] = msgspec.json.decode(bytes(command.payload))
        return message


class PlainCommandSerializer(serializers.Serializer[Any]):
    """A command that needs no more than its type. Software, keys, settlement and parameters have endpoints of their own."""

    type = serializers.ChoiceField(choices=PLAIN_COMMANDS)


class DeadLetterSerializer(ModelSerializer[DeadLetter]):
    """`detail` is the refusal in the caller's language."""

    detail = serializers.CharField(read_only=True)

    class Meta:
        model = DeadLetter
        fields = ["id", "topic", "reason", "detail", "payload_bytes", "count", "first_at", "last_at"]


class CommandViewSet(ReadViewSet):
    """What was asked of terminals, and what came of it."""

    queryset = Command.objects.select_related("terminal")
    serializer_class = CommandSerializer
    filterset_fields = ["terminal", "type", "state"]


class DeadLetterViewSet(ReadViewSet):
    """Messages that could not be taken, with the reason."""

    queryset = DeadLetter.objects.all()
    serializer_class = DeadLetterSerializer
    filterset_fields = ["reason", "topic"]
