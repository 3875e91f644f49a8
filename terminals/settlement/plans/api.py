"""Plans, calendars, what is set at levels, and schedules in the API."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import EditViewSet, IdempotentPosts, ReadViewSet, actor_of
from terminals.common.api.serializers import ModelSerializer
from terminals.common.errors import Refusal
from terminals.common.words import sentence
from terminals.estate.levels import INSTALLATION, Level
from terminals.settlement.plans import rules, services
from terminals.settlement.plans.models import LEVELS, BusinessCalendar, PlanLevel, SettlementPlan, SettlementSchedule


def _amounts() -> serializers.DictField:
    return serializers.DictField(
        child=serializers.IntegerField(min_value=1), required=False, help_text="Minor units by currency (TTLT)"
    )


class SettingsSerializer(serializers.Serializer[Any]):
    """A plan's settings; what is absent comes from above, or has its default. After ISO 20022's reconciliation policies."""

    enabled = serializers.BooleanField(required=False)
    cycle = serializers.CharField(required=False, allow_blank=True, help_text="Crontab of five fields (CYCL)")
    time_zone = serializers.CharField(required=False, allow_blank=True, help_text="IANA; empty for each store's own")
    calendar = serializers.IntegerField(required=False, allow_null=True, help_text="Id of a business calendar")
    cut_off = serializers.CharField(required=False, allow_blank=True, help_text="Local time, e.g. 23:00")
    amount_limits = _amounts()
    count_limit = serializers.IntegerField(required=False, allow_null=True, help_text="Transactions in a batch (NBLT)")
    by_hand = serializers.BooleanField(required=False, help_text="Operators may ask for it (ONDM)")
    jitter_seconds = serializers.IntegerField(required=False)
    window_minutes = serializers.IntegerField(required=False)
    expiry_minutes = serializers.IntegerField(required=False)
    retries = serializers.IntegerField(required=False)
    retry_minutes = serializers.IntegerField(required=False)
    when_missed = serializers.ChoiceField(rules.WHEN_MISSED, required=False)
    warn_minutes = serializers.IntegerField(required=False)

    def get_fields(self) -> dict[str, Any]:
        checks = {f"check_{name}": serializers.ChoiceField(rules.SEVERITIES, required=False) for name in rules.CHECKS}
        return super().get_fields() | checks


@extend_schema_field(SettingsSerializer)
class SettingsField(serializers.Field[Any, Any, Any, Any]):
    """Settings as a whole: the rules refuse what does not fit, with its name."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return rules.checked(data)
        except Refusal as refusal:
            raise serializers.ValidationError(sentence(refusal)) from None

    def to_representation(self, value: Any) -> Any:
        return value


class PlanSerializer(ModelSerializer[SettlementPlan]):
    settings = SettingsField(required=False)

    class Meta:
        model = SettlementPlan
        fields = ["id", "name", "settings", "is_default"]


class PlanViewSet(EditViewSet):
    """Named sets of settings; the default one holds wherever no other is set."""

    queryset = SettlementPlan.objects.all()
    serializer_class = PlanSerializer
    filterset_fields = ["name", "is_default"]

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        serializer.instance = SettlementPlan(**serializer.validated_data)
        services.change_plan(serializer.instance, actor=actor_of(self.request))

    def perform_update(self, serializer: serializers.BaseSerializer[Any]) -> None:
        plan = cast(SettlementPlan, serializer.instance)
        for name, value in serializer.validated_data.items():
            setattr(plan, name, value)
        services.change_plan(plan, actor=actor_of(self.request))


class CalendarSerializer(ModelSerializer[BusinessCalendar]):
    """`weekend` is a list of ISO days (6 is Saturday); `closed_days` and `open_days` are day -> name."""

    class Meta:
        model = BusinessCalendar
        fields = ["id", "name", "country", "subdivision", "weekend", "closed_days", "open_days"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        names = self.Meta.fields[1:]
        present = {name: getattr(self.instance, name) for name in names} if self.instance else {}
        BusinessCalendar(**(present | attrs)).clean()
        return attrs


class CalendarViewSet(EditViewSet):
    """Business calendars: a country's holidays, a weekend, days of one's own."""

    queryset = BusinessCalendar.objects.all()
    serializer_class = CalendarSerializer
    filterset_fields = ["name", "country"]

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        serializer.instance = BusinessCalendar(**serializer.validated_data)
        services.change_calendar(serializer.instance, actor=actor_of(self.request))

    def perform_update(self, serializer: serializers.BaseSerializer[Any]) -> None:
        calendar = cast(BusinessCalendar, serializer.instance)
        for name, value in serializer.validated_data.items():
            setattr(calendar, name, value)
        services.change_calendar(calendar, actor=actor_of(self.request))


class PlanLevelSerializer(ModelSerializer[PlanLevel]):
    """What is set at one level: name an organisation, a merchant, a store or a terminal."""

    settings = SettingsField(required=False)

    class Meta:
        model = PlanLevel
        fields = ["id", *LEVELS, "plan", "settings", "changed_at", "changed_by"]
        read_only_fields = ["changed_at", "changed_by"]
        extra_kwargs: dict[str, Any] = {
            **{name: {"required": False, "allow_null": True} for name in LEVELS},
            "terminal": {"required": False, "allow_null": True, "validators": []},
            "plan": {"required": False, "allow_null": True},
        }
        validators: list[Any] = []

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len([name for name in LEVELS if attrs.get(name) is not None]) != 1:
            raise serializers.ValidationError(f"name one level: {', '.join(LEVELS)}")
        return attrs


class PlanLevelViewSet(IdempotentPosts, mixins.CreateModelMixin, ReadViewSet):
    """POST sets the whole of what holds at a level; neither a plan nor settings takes away what was set there (204)."""

    needs: ClassVar[dict[str, str]] = {"create": services.SET_SCHEDULE}
    queryset = PlanLevel.objects.all()
    serializer_class = PlanLevelSerializer
    filterset_fields = ["plan", *LEVELS]

    @extend_schema(request=PlanLevelSerializer, responses={201: PlanLevelSerializer, 204: None})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        wanted = self.get_serializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        said = wanted.validated_data
        level: Level = next(((name, said[name].pk) for name in LEVELS if said.get(name) is not None), INSTALLATION)
        one = services.set_level(
            level=level, plan=said.get("plan"), settings=said.get("settings", {}), actor=actor_of(request)
        )
        if one is None:
            return Response(status=status.HTTP_204_NO_CONTENT)
        return Response(self.get_serializer(one).data, status=status.HTTP_201_CREATED)


class ScheduleSerializer(ModelSerializer[SettlementSchedule]):
    """When a terminal is due, by which settings; `problems` is what readiness found ahead of it, as data."""

    plan = serializers.IntegerField(source="effective.plan_id", allow_null=True, read_only=True)
    settings = SettingsSerializer(source="effective.settings", read_only=True)

    class Meta:
        model = SettlementSchedule
        fields = ["terminal", "plan", "settings", "next_due_at", "due_reason", "is_blocked", "problems"]
        read_only_fields = fields


class ScheduleViewSet(ReadViewSet):
    """When terminals settle by themselves. It follows from the levels above each terminal (`settlement/levels`)."""

    queryset = SettlementSchedule.objects.select_related("effective")
    serializer_class = ScheduleSerializer
    filterset_fields = ["terminal", "is_blocked"]
    ordering = "terminal_id"
    ordering_fields = ("terminal_id",)
