"""Reports, closed days and scheduled reports in the API."""

from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.utils import timezone
from django.utils.translation import gettext
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import EditViewSet, IdempotentPosts, ReadViewSet, actor_of, field_errors
from terminals.common.api.serializers import ModelSerializer
from terminals.common.errors import Refusal
from terminals.common.scope import reach_of
from terminals.settlement.reports import figures, files, services
from terminals.settlement.reports.models import DailyClose, Report, ReportSchedule
from terminals.settlement.reports.rules import FORMATS, LEVELS, PERIODS, spec_of


class SpecSerializer(serializers.Serializer[Any]):
    """`period`, or `first` and `last`; `at` is a place as `merchant:3`."""

    level = serializers.ChoiceField(LEVELS, default="merchant")
    period = serializers.ChoiceField(PERIODS, required=False)
    first = serializers.DateField(required=False)
    last = serializers.DateField(required=False)
    by_day = serializers.BooleanField(default=False)
    at = serializers.CharField(max_length=40, required=False)


class RequestSerializer(SpecSerializer):
    format = serializers.ChoiceField(FORMATS, default="csv")


class FiguresSerializer(serializers.Serializer[Any]):
    """Amounts are minor units; `outstanding_minor` was settled, and neither arrived nor was kept as a fee; `excess_minor` came
    too much. Both are of each batch by itself."""

    id = serializers.IntegerField(allow_null=True)
    name = serializers.CharField()
    day = serializers.DateField(allow_null=True)
    currency = serializers.CharField()
    batches = serializers.IntegerField()
    transactions = serializers.IntegerField()
    card_minor = serializers.IntegerField()
    qr_minor = serializers.IntegerField()
    settled_minor = serializers.IntegerField()
    recorded_minor = serializers.IntegerField()
    credited_minor = serializers.IntegerField()
    fee_minor = serializers.IntegerField()
    outstanding_minor = serializers.IntegerField()
    excess_minor = serializers.IntegerField()
    open_difference_minor = serializers.IntegerField()


class ReportSerializer(ModelSerializer[Report]):
    why = serializers.CharField(read_only=True)

    class Meta:
        model = Report
        fields = ["id", "spec", "format", "state", "percent", "why", "requested_at", "finished_at"]


class ReportViewSet(IdempotentPosts, ReadViewSet):
    """POST has a report made in the background; `file` is fetched when it is done. `figures` answers at once."""

    needs: ClassVar[dict[str, str]] = dict.fromkeys(("list", "retrieve", "create", "file", "figures"), services.SEE)
    queryset = Report.objects.all()
    serializer_class = ReportSerializer
    filterset_fields = ["state"]

    @extend_schema(request=RequestSerializer, responses={202: ReportSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        said = RequestSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        spec = {name: str(value) for name, value in said.validated_data.items() if name != "format"}
        job = services.request_report(spec=spec, file_format=said.validated_data["format"], user=request.user)
        return Response(self.get_serializer(job).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    @action(detail=True)
    def file(self, request: Request, pk: str) -> HttpResponse:
        """The file, when the report is done."""
        job: Report = self.get_object()
        reach = reach_of(request.user, services.SEE)
        if job.content is None or not all(reach.covers(path) for path in job.paths):
            raise NotFound
        answer = HttpResponse(bytes(job.content), content_type=files.TYPES[job.format])
        name = files.name_of(spec_of(job.spec, timezone.localdate()), job.format)
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer

    @extend_schema(request=SpecSerializer, responses={200: FiguresSerializer(many=True)})
    @action(detail=False, methods=["post"], pagination_class=None)
    def figures(self, request: Request) -> Response:
        """A report's rows at once. A large one is refused: have it made in the background."""
        said = SpecSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        spec = spec_of({name: str(value) for name, value in said.validated_data.items()}, timezone.localdate())
        paths = figures.places(reach_of(request.user, services.SEE), spec.node)
        if paths is None:
            raise PermissionDenied
        rows = figures.rows_of(spec, paths, most=services.AT_ONCE + 1)
        if len(rows) > services.AT_ONCE:
            raise Refusal(
                "too_large", "more than %(most)s rows; have the report made in the background", most=services.AT_ONCE
            )
        names = figures.names_of(spec.level, {row.key for row in rows})
        told = [
            {"id": row.key, "name": names.get(row.key or 0, ("",))[0], "day": row.day, **row.figures._asdict()}
            for row in rows
        ]
        return Response(FiguresSerializer(told, many=True).data)


class DailyCloseSerializer(ModelSerializer[DailyClose]):
    class Meta:
        model = DailyClose
        fields = ["id", "organisation", "day", "closed_by", "closed_at"]
        read_only_fields = ["closed_by", "closed_at"]
        validators: list[Any] = []


class ChangeSerializer(serializers.Serializer[Any]):
    """A terminal's figures as they were closed, and as they are now."""

    terminal = serializers.IntegerField()
    then = FiguresSerializer()
    now = FiguresSerializer()


class DailyCloseViewSet(IdempotentPosts, ReadViewSet):
    """POST closes a day: its figures are kept as they are; `changes` are what came later."""

    needs: ClassVar[dict[str, str]] = {"create": services.CLOSE}
    queryset = DailyClose.objects.all()
    serializer_class = DailyCloseSerializer
    filterset_fields = ["organisation", "day"]

    @extend_schema(request=DailyCloseSerializer, responses={201: DailyCloseSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        said = self.get_serializer(data=request.data)
        said.is_valid(raise_exception=True)
        chosen = said.validated_data.get("organisation")
        reach = reach_of(request.user, services.CLOSE)
        if not reach.covers(chosen.path) if chosen is not None else not reach.everywhere:
            raise PermissionDenied
        close = services.close_day(organisation=chosen, day=said.validated_data["day"], actor=actor_of(request))
        return Response(self.get_serializer(close).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={200: ChangeSerializer(many=True)})
    @action(detail=True, pagination_class=None)
    def changes(self, request: Request, pk: str) -> Response:
        """What changed since the day was closed: the first 5,000 terminals."""
        _count, changed = services.changes_since(self.get_object())
        told = [{"terminal": one.terminal_id, "then": one.then._asdict(), "now": one.now._asdict()} for one in changed]
        return Response(told)


class ReportScheduleSerializer(ModelSerializer[ReportSchedule]):
    """`spec` as for a report, with `period`; `crontab` is read in `time_zone`."""

    why = serializers.CharField(read_only=True)

    class Meta:
        model = ReportSchedule
        fields = ["id", "name", "spec", "format", "recipients", "crontab", "time_zone", "enabled"]
        fields += ["next_at", "sent_at", "why"]
        read_only_fields = ["next_at", "sent_at"]

    def validate(self, attrs: Any) -> Any:
        present = self.instance or ReportSchedule()
        wanted = ReportSchedule(
            **{
                name: attrs.get(name, getattr(present, name))
                for name in ("name", "spec", "recipients", "crontab", "time_zone", "enabled")
            }
        )
        if not isinstance(wanted.spec, dict):
            raise serializers.ValidationError({"spec": gettext("it is an object: name -> value")})
        with field_errors():
            attrs["next_at"] = services.checked_schedule(wanted, self.context["request"].user).next_at
        return attrs


class ReportScheduleViewSet(EditViewSet):
    """Reports that are sent by e-mail; everybody sees their own."""

    queryset = ReportSchedule.objects.all()
    serializer_class = ReportScheduleSerializer
    filterset_fields = ["enabled"]

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        serializer.validated_data["owner"] = self.request.user
        super().perform_create(serializer)
