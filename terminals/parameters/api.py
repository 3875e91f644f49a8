"""Parameter versions in the API, and sending them."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import IdempotentPosts, ReadViewSet, actor_of
from terminals.common.api.serializers import ModelSerializer
from terminals.estate.api import TerminalsSerializer
from terminals.parameters import services
from terminals.parameters.models import ParameterVersion


class ParameterVersionSerializer(ModelSerializer[ParameterVersion]):
    class Meta:
        model = ParameterVersion
        fields = ["id", "name", "version", "parameters", "created_at", "created_by"]
        read_only_fields = ["version", "created_at", "created_by"]
        extra_kwargs = {"parameters": {"required": True}}  # the model has a default, an operator's wish has none
        validators: list[Any] = []


class SentSerializer(serializers.Serializer[Any]):
    sent = serializers.IntegerField()


class ParameterVersionViewSet(IdempotentPosts, mixins.CreateModelMixin, ReadViewSet):
    """POST writes the next version of the named document; versions are never edited."""

    queryset = ParameterVersion.objects.all()
    serializer_class = ParameterVersionSerializer
    filterset_fields = ["name", "version"]
    needs: ClassVar[dict[str, str]] = {"send": services.SEND_PARAMETERS}

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        serializer.instance = services.publish_parameters(actor=actor_of(self.request), **serializer.validated_data)

    @extend_schema(request=TerminalsSerializer, responses={202: SentSerializer})
    @action(detail=True, methods=["post"])
    def send(self, request: Request, pk: str) -> Response:
        """Send this version to terminals."""
        wanted = TerminalsSerializer(data=request.data, context=self.get_serializer_context())
        wanted.is_valid(raise_exception=True)
        sent = services.configure_terminals(
            terminals=wanted.validated_data["terminals"], version=self.get_object(), actor=actor_of(request)
        )
        return Response({"sent": sent}, status=status.HTTP_202_ACCEPTED)
