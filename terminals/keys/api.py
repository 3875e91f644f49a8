"""Keys in the API: what they are for, their check values and how their delivery went; never a key."""

from typing import Any, ClassVar

from rest_framework import mixins, status
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import EditViewSet, IdempotentPosts, ReadViewSet, actor_of
from terminals.common.api.serializers import ModelSerializer
from terminals.keys import services
from terminals.keys.models import KeyRequirement, TerminalKey


class KeySerializer(ModelSerializer[TerminalKey]):
    class Meta:
        model = TerminalKey
        fields = [
            "id",
            "terminal",
            "usage",
            "algorithm",
            "kcv",
            "state",
            "command",
            "created_at",
            "answered_at",
            "answered_kcv",
        ]
        read_only_fields = [name for name in fields if name not in ("terminal", "usage")]
        validators: list[Any] = []  # the service refuses, with its reason


class KeyRequirementSerializer(ModelSerializer[KeyRequirement]):
    class Meta:
        model = KeyRequirement
        fields = ["id", "model", "usage"]


class KeyViewSet(IdempotentPosts, mixins.CreateModelMixin, ReadViewSet):
    """POST makes a working key of the usage for the terminal and delivers it."""

    queryset = TerminalKey.objects.all()
    serializer_class = KeySerializer
    filterset_fields = ["terminal", "usage", "state"]
    needs: ClassVar[dict[str, str]] = {"create": services.DELIVER_KEY}

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        wanted = self.get_serializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        key = services.request_key_delivery(actor=actor_of(request), **wanted.validated_data)
        return Response(self.get_serializer(key).data, status=status.HTTP_201_CREATED)


class KeyRequirementViewSet(EditViewSet):
    """Keys that each terminal of a model gets when it connects."""

    queryset = KeyRequirement.objects.all()
    serializer_class = KeyRequirementSerializer
    filterset_fields = ["model", "usage"]
