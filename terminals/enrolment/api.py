"""Devices that wait to be let in, in the API."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import IdempotentPosts, ReadViewSet, actor_of
from terminals.common.api.serializers import ModelSerializer, ReachableField
from terminals.enrolment import queue
from terminals.enrolment.models import EnrolmentRequest
from terminals.estate.models import Store, TerminalModel


class EnrolmentRequestSerializer(ModelSerializer[EnrolmentRequest]):
    """`fingerprint` is what the device can show of its key, so that a person can compare."""

    fingerprint = serializers.CharField(read_only=True)

    class Meta:
        model = EnrolmentRequest
        fields = [
            "id",
            "serial",
            "fingerprint",
            "address",
            "state",
            "asked_at",
            "last_asked_at",
            "decided_at",
            "decided_by",
            "terminal",
        ]


class PlaceSerializer(serializers.Serializer[Any]):
    """Where a device is let in."""

    store = ReachableField(queryset=Store.objects.all())
    model = ReachableField(queryset=TerminalModel.objects.all())
    tid = serializers.CharField(max_length=8, required=False, default="", allow_blank=True)


class EnrolmentRequestViewSet(IdempotentPosts, ReadViewSet):
    """Devices that nobody registered and that ask to enrol, where the server lets them ask (ENROLMENT_QUEUE)."""

    queryset = EnrolmentRequest.objects.all()
    serializer_class = EnrolmentRequestSerializer
    filterset_fields = ["state", "serial"]
    needs: ClassVar[dict[str, str]] = {"approve": queue.DECIDE, "reject": queue.DECIDE}

    @extend_schema(request=PlaceSerializer, responses={200: EnrolmentRequestSerializer})
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Register the device at a store; it enrols when it asks again."""
        waiting = self.get_object()
        wanted = PlaceSerializer(data=request.data, context=self.get_serializer_context())
        wanted.is_valid(raise_exception=True)
        queue.approve(request=waiting, user=request.user, **wanted.validated_data)
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=None, responses={200: EnrolmentRequestSerializer})
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Send the device away."""
        queue.reject(request=self.get_object(), actor=actor_of(request))
        return Response(self.get_serializer(self.get_object()).data)
