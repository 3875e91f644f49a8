"""Bulk work in the API: preview it, start it, look how far it is, cancel what has not been done yet."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.bulk import services
from terminals.bulk.models import BulkItem, BulkJob
from terminals.bulk.rules import ItemState
from terminals.bulk.verbs import verbs
from terminals.common.api.base import IdempotentPosts, ReadViewSet
from terminals.common.api.permissions import refuse_stale
from terminals.common.api.serializers import ModelSerializer
from terminals.common.words import sentence


class WantedSerializer(serializers.Serializer[Any]):
    """What to do to which terminals. `filter` is the filter language; `arguments` depend on the verb."""

    verb = serializers.CharField(max_length=30)
    filter = serializers.CharField(max_length=2000)
    arguments = serializers.DictField(required=False, default=dict)


class LeftOutSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField()
    detail = serializers.CharField()
    count = serializers.IntegerField()
    serials = serializers.ListField(child=serializers.CharField())


class PreviewSerializer(serializers.Serializer[Any]):
    """`total` terminals pass the filter, `ready` of them would have it done; the others are left out."""

    total = serializers.IntegerField()
    ready = serializers.IntegerField()
    left_out = LeftOutSerializer(many=True)
    warnings = serializers.ListField(child=serializers.CharField(), help_text="What to know before it is done")


class JobSerializer(ModelSerializer[BulkJob]):
    """`progress` counts the terminals by state."""

    progress = serializers.SerializerMethodField()
    requested_by = serializers.CharField(source="requested_by.username", read_only=True)

    class Meta:
        model = BulkJob
        fields = [
            "id",
            "verb",
            "arguments",
            "filter",
            "state",
            "total",
            "progress",
            "requested_by",
            "requested_at",
            "finished_at",
        ]

    def get_progress(self, job: BulkJob) -> dict[str, int]:
        counted: dict[int, dict[str, int]] = getattr(self.context["view"], "counted", {})
        return counted.get(job.pk) or services.progress(job)


class ItemSerializer(ModelSerializer[BulkItem]):
    """What became of one terminal; `detail` is why it was left out."""

    serial = serializers.CharField(source="terminal.serial", read_only=True)
    detail = serializers.CharField(source="why", read_only=True)

    class Meta:
        model = BulkItem
        fields = ["terminal", "serial", "state", "reason", "detail"]


class JobViewSet(IdempotentPosts, ReadViewSet):
    """POST does one verb to every terminal that passes a filter, in the background. Who may do it depends on the verb."""

    queryset = BulkJob.objects.select_related("requested_by")
    serializer_class = JobSerializer
    filterset_fields = ["verb", "state"]
    needs: ClassVar[dict[str, str]] = dict.fromkeys(
        ("list", "retrieve", "create", "preview", "cancel", "items"), services.VIEW
    )

    def paginate_queryset(self, queryset: Any) -> Any:
        """A page's jobs are counted together."""
        page = super().paginate_queryset(queryset)
        self.counted = services.progress_of(page or [])
        return page

    @extend_schema(request=WantedSerializer, responses={202: JobSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        wanted = self._wanted(request)
        refuse_stale(request, verbs.named(wanted["verb"]).permission)
        job = services.start(user=request.user, **wanted)
        return Response(self.get_serializer(job).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=WantedSerializer, responses={200: PreviewSerializer})
    @action(detail=False, methods=["post"])
    def preview(self, request: Request) -> Response:
        """Say what would be done and who would be left out, and why. Changes nothing."""
        found = services.preview(user=request.user, **self._wanted(request))
        left_out = [
            {"reason": one.refusal.reason, "detail": sentence(one.refusal), "count": one.number, "serials": one.serials}
            for one in found.left_out
        ]
        body = {"total": found.total, "ready": found.ready, "left_out": left_out, "warnings": found.warnings}
        return Response(body)

    @extend_schema(request=None, responses={200: JobSerializer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Stop it: what was not done yet is not done any more; what was done stays done."""
        job = self.get_object()
        services.cancel(job=job, user=request.user)
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(responses={200: ItemSerializer(many=True)})
    @action(detail=True, pagination_class=None)
    def items(self, request: Request, pk: str) -> Response:
        """The first thousand terminals that were left out, and why."""
        left_out = (
            self.get_object().items.filter(state=ItemState.LEFT_OUT).select_related("terminal").order_by("id")[:1000]
        )
        return Response(ItemSerializer(left_out, many=True).data)

    def _wanted(self, request: Request) -> dict[str, Any]:
        wanted = WantedSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        said = wanted.validated_data
        return {"verb": said["verb"], "text": said["filter"], "arguments": said["arguments"]}
