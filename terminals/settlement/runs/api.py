"""Settlement runs in the API."""

from collections.abc import Iterable
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import IdempotentPosts, ReadViewSet, actor_of
from terminals.common.api.serializers import ModelSerializer
from terminals.estate.models import Terminal
from terminals.settlement.reconciliation.lines import lines_of
from terminals.settlement.reconciliation.rules import Line
from terminals.settlement.runs import services
from terminals.settlement.runs.models import SettlementRun


class LineSerializer(serializers.Serializer[Any]):
    """One line of the batch: what the terminal reported beside what its transactions add up to, in minor units."""

    currency = serializers.CharField()
    method = serializers.CharField()
    scheme = serializers.CharField()
    kind = serializers.CharField()
    reported_count = serializers.IntegerField()
    reported_minor = serializers.IntegerField()
    recorded_count = serializers.IntegerField()
    recorded_minor = serializers.IntegerField()


class RunSerializer(ModelSerializer[SettlementRun]):
    """`reasons` is why it failed or does not balance, as data; `reason` the same in words of the caller's language."""

    totals = serializers.SerializerMethodField()
    reason = serializers.CharField(read_only=True)

    class Meta:
        model = SettlementRun
        fields = [
            "id",
            "terminal",
            "trigger",
            "state",
            "command",
            "requested_at",
            "due_at",
            "business_day",
            "ends_at",
            "attempt",
            "retry_at",
            "problems",
            "finished_at",
            "opened_at",
            "closed_at",
            "batch_number",
            "currency",
            "host_response",
            "upload_complete",
            "reported_minor",
            "difference_minor",
            "reasons",
            "reason",
            "totals",
        ]
        read_only_fields = [name for name in fields if name != "terminal"]
        validators: list[Any] = []  # the service refuses, with its reason

    @extend_schema_field(LineSerializer(many=True))
    def get_totals(self, run: SettlementRun) -> Any:
        lines: list[Line] = getattr(run, "lines", [])
        return [line._asdict() for line in sorted(lines)]


def with_lines(runs: Iterable[SettlementRun]) -> None:
    """Hang its batch's lines on each run: one statement."""
    settled = {(run.terminal_id, run.batch_number): run for run in runs if run.batch_number is not None}
    for key, lines in lines_of(list(settled)).items():
        settled[key].lines = lines  # type: ignore[attr-defined]


class RunViewSet(IdempotentPosts, mixins.CreateModelMixin, ReadViewSet):
    """Settlements, from their trigger to the comparison; POST asks a terminal to settle now."""

    needs: ClassVar[dict[str, str]] = {"create": services.REQUEST_SETTLEMENT}

    queryset = SettlementRun.objects.all()
    serializer_class = RunSerializer
    filterset_fields = ["terminal", "state", "trigger", "batch_number", "business_day"]

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        with_lines(page or [])
        return page

    def get_object(self) -> Any:
        run = super().get_object()
        with_lines([run])
        return run

    @extend_schema(request=RunSerializer, responses={201: RunSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        wanted = self.get_serializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        terminal: Terminal = wanted.validated_data["terminal"]
        run = services.request_settlement(terminal=terminal, actor=actor_of(request))
        return Response(self.get_serializer(run).data, status=status.HTTP_201_CREATED)
