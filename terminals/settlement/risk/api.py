"""Risk rules in the API: set, and tried against the past before they are switched on."""

from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import IdempotentPosts, ReadViewSet, actor_of
from terminals.common.api.serializers import ModelSerializer
from terminals.common.scope import reach_of
from terminals.estate.models import Organisation
from terminals.settlement.risk import services
from terminals.settlement.risk.models import RiskRule
from terminals.settlement.risk.rules import SIGNALS, checked


class RiskRuleSerializer(ModelSerializer[RiskRule]):
    class Meta:
        model = RiskRule
        fields = ["id", "organisation", "signal", "settings", "enabled"]
        validators: list[Any] = []


class TrialSerializer(serializers.Serializer[Any]):
    signal = serializers.ChoiceField(tuple(SIGNALS))
    settings = serializers.DictField(child=serializers.IntegerField(), default=dict)
    days = serializers.IntegerField(min_value=1, max_value=90, default=7)


class HitSerializer(serializers.Serializer[Any]):
    """A batch that the rule would have found; amounts are minor units."""

    terminal = serializers.IntegerField()
    batch_number = serializers.IntegerField()
    settled_at = serializers.DateTimeField()
    currency = serializers.CharField()
    expected_count = serializers.IntegerField()
    found_count = serializers.IntegerField()
    expected_minor = serializers.IntegerField()
    found_minor = serializers.IntegerField()
    detail = serializers.CharField()


class RiskRuleViewSet(IdempotentPosts, ReadViewSet):
    """POST sets a signal's rule for an organisation, or for all; `trial` says what it would have found."""

    needs: ClassVar[dict[str, str]] = {"create": services.CHANGE_RULE, "trial": services.CHANGE_RULE}
    queryset = RiskRule.objects.all()
    serializer_class = RiskRuleSerializer
    filterset_fields = ["organisation", "signal", "enabled"]

    @extend_schema(request=RiskRuleSerializer, responses={201: RiskRuleSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        said = self.get_serializer(data=request.data)
        said.is_valid(raise_exception=True)
        values = said.validated_data
        chosen: Organisation | None = values.get("organisation")
        reach = reach_of(request.user, services.CHANGE_RULE)
        if not (reach.covers(chosen.path) if chosen is not None else reach.everywhere):
            raise PermissionDenied
        rule = services.set_rule(
            organisation=chosen,
            signal=values["signal"],
            settings=values.get("settings", {}),
            enabled=values.get("enabled", False),
            actor=actor_of(request),
        )
        return Response(self.get_serializer(rule).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=TrialSerializer, responses={200: HitSerializer(many=True)})
    @action(detail=False, methods=["post"], url_path="trial", pagination_class=None)
    def trial(self, request: Request) -> Response:
        """What a rule would have found in the last days; nothing is changed."""
        said = TrialSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        values = said.validated_data
        settings = checked(values["signal"], values["settings"])
        found = services.try_rule(
            values["signal"], settings, reach_of(request.user, services.CHANGE_RULE), values["days"]
        )
        hits = [
            {
                "terminal": one.terminal_id,
                "batch_number": one.batch_number,
                "settled_at": one.settled_at,
                "currency": one.profile.currency,
                **evidence._asdict(),
            }
            for one, evidence in found[:1000]
        ]
        return Response(HitSerializer(hits, many=True).data)
