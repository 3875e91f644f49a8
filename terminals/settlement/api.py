"""Plans, schedules, runs and transactions in the API."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import EditViewSet, IdempotentPosts, ReadViewSet, actor_of
from terminals.common.api.serializers import ModelSerializer
from terminals.estate.models import Terminal
from terminals.settlement import services
from terminals.settlement.models import RunTotal, SettlementPlan, SettlementRun, SettlementSchedule, Transaction


class PlanSerializer(ModelSerializer[SettlementPlan]):
    class Meta:
        model = SettlementPlan
        fields = [
            "id",
            "name",
            "cycle",
            "time_zone",
            "threshold_minor",
            "threshold_currency",
            "jitter_seconds",
            "is_default",
            "enabled",
        ]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        present = (
            {}
            if self.instance is None
            else {f.attname: getattr(self.instance, f.attname) for f in SettlementPlan._meta.concrete_fields}
        )
        SettlementPlan(**(present | attrs)).clean()
        return attrs


class ScheduleSerializer(ModelSerializer[SettlementSchedule]):
    """A terminal's plan with its overrides; saving replaces what the terminal had."""

    class Meta:
        model = SettlementSchedule
        fields = [
            "terminal",
            "plan",
            "cycle",
            "time_zone",
            "threshold_minor",
            "threshold_currency",
            "next_due_at",
            "due_reason",
        ]
        read_only_fields = ["next_due_at", "due_reason"]
        extra_kwargs: dict[str, Any] = {"terminal": {"validators": []}}


class RunTotalSerializer(ModelSerializer[RunTotal]):
    class Meta:
        model = RunTotal
        exclude = ["id", "run"]


class RunSerializer(ModelSerializer[SettlementRun]):
    """`reasons` is why it failed or does not balance, as data; `reason` the same in words of the caller's language."""

    totals = RunTotalSerializer(many=True, read_only=True)
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
            "finished_at",
            "batch_number",
            "currency",
            "host_response",
            "reported_minor",
            "difference_minor",
            "reasons",
            "reason",
            "totals",
        ]
        read_only_fields = [name for name in fields if name != "terminal"]
        validators: list[Any] = []  # the service refuses, with its reason


class TransactionSerializer(ModelSerializer[Transaction]):
    class Meta:
        model = Transaction
        exclude = ["received_at"]


class PlanViewSet(EditViewSet):
    """Named policies: a cycle, a threshold, or both."""

    queryset = SettlementPlan.objects.all()
    serializer_class = PlanSerializer
    filterset_fields = ["name", "is_default", "enabled"]

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        serializer.instance = SettlementPlan(**serializer.validated_data)
        services.change_plan(serializer.instance, actor=actor_of(self.request))

    def perform_update(self, serializer: serializers.BaseSerializer[Any]) -> None:
        plan = cast(SettlementPlan, serializer.instance)
        for name, value in serializer.validated_data.items():
            setattr(plan, name, value)
        services.change_plan(plan, actor=actor_of(self.request))


class ScheduleViewSet(IdempotentPosts, mixins.CreateModelMixin, ReadViewSet):
    """When terminals settle by themselves. POST puts a terminal under a plan and replaces what it had, overrides too."""

    needs: ClassVar[dict[str, str]] = {"create": services.SET_SCHEDULE}

    queryset = SettlementSchedule.objects.all()
    serializer_class = ScheduleSerializer
    filterset_fields = ["terminal", "plan"]
    ordering = "terminal_id"
    ordering_fields = ("terminal_id",)

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        serializer.instance = services.set_schedule(actor=actor_of(self.request), **serializer.validated_data)


class RunViewSet(IdempotentPosts, mixins.CreateModelMixin, ReadViewSet):
    """Settlements, from their trigger to the comparison; POST asks a terminal to settle now."""

    needs: ClassVar[dict[str, str]] = {"create": services.REQUEST_SETTLEMENT}

    queryset = SettlementRun.objects.prefetch_related("totals")
    serializer_class = RunSerializer
    filterset_fields = ["terminal", "state", "trigger", "batch_number"]

    @extend_schema(request=RunSerializer, responses={201: RunSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        wanted = self.get_serializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        terminal: Terminal = wanted.validated_data["terminal"]
        run = services.request_settlement(terminal=terminal, actor=actor_of(request))
        return Response(self.get_serializer(run).data, status=status.HTTP_201_CREATED)


class TransactionViewSet(ReadViewSet):
    """Approved transactions as terminals uploaded them."""

    queryset = Transaction.objects.all()
    serializer_class = TransactionSerializer
    filterset_fields = ["terminal", "batch_number", "kind", "method"]
