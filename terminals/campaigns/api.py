"""Campaigns in the API: propose, agree, start, watch, pause, go on, cancel, roll back. For people and for build servers."""

from datetime import datetime
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.bulk.api import LeftOutSerializer
from terminals.campaigns import planning, selectors, services
from terminals.campaigns.models import Campaign, Member
from terminals.common.api.base import IdempotentPosts, ReadViewSet
from terminals.common.api.permissions import refuse_stale
from terminals.common.api.serializers import ModelSerializer
from terminals.common.words import sentence


class WantedCampaignSerializer(serializers.Serializer[Any]):
    """What is moved, and to whom. `filter` is the filter language; `arguments` depend on the kind; what `settings` leave out
    is as usual. With `follows` in them terminals that come to pass the filter later are included."""

    kind = serializers.CharField(max_length=30)
    filter = serializers.CharField(max_length=2000)
    arguments = serializers.DictField(required=False, default=dict)
    settings = serializers.DictField(required=False, default=dict)


class ProposalSerializer(WantedCampaignSerializer):
    """The same, with the name under which people find it."""

    name = serializers.CharField(max_length=80)


class CampaignPreviewSerializer(serializers.Serializer[Any]):
    """`waves` is how many terminals each has; `superseded` of them are waiting in other campaigns for the same thing."""

    total = serializers.IntegerField()
    waves = serializers.ListField(child=serializers.IntegerField())
    left_out = LeftOutSerializer(many=True)
    superseded = serializers.IntegerField()


class WaveSerializer(serializers.Serializer[Any]):
    """`unmet` says why a guard does not hold; `measured` of how many terminals a measure was bad: before, after, and of those
    that were not touched yet."""

    number = serializers.IntegerField()
    state = serializers.CharField()
    total = serializers.IntegerField()
    states = serializers.DictField(child=serializers.IntegerField())
    codes = serializers.DictField(child=serializers.IntegerField())
    begun_at = serializers.DateTimeField()
    soaks_until = serializers.DateTimeField()
    unmet = serializers.ListField(child=serializers.DictField())
    measured = serializers.ListField(child=serializers.DictField())
    forced_by = serializers.CharField()


class CampaignSerializer(ModelSerializer[Campaign]):
    """Whoever approves sends the `digest` of what was looked at."""

    proposed_by = serializers.CharField(source="proposed_by.username", read_only=True)
    approved_by = serializers.CharField(source="approved_by.username", read_only=True, default="")
    waves = serializers.SerializerMethodField()
    expected_end = serializers.SerializerMethodField(help_text="At the pace so far; null where nobody knows")

    class Meta:
        model = Campaign
        fields = [
            "id",
            "name",
            "kind",
            "arguments",
            "filter",
            "settings",
            "state",
            "total",
            "digest",
            "needs_approval",
            "proposed_by",
            "proposed_at",
            "approved_by",
            "approved_at",
            "started_at",
            "ends_at",
            "finished_at",
            "expected_end",
            "rolls_back",
            "waves",
        ]

    @extend_schema(responses=WaveSerializer(many=True))
    def get_waves(self, campaign: Campaign) -> list[dict[str, Any]]:
        return [dict(WaveSerializer(one).data) for one in self._seen(campaign)]

    def get_expected_end(self, campaign: Campaign) -> datetime | None:
        return selectors.expected_end(campaign, self._seen(campaign), timezone.now())

    def _seen(self, campaign: Campaign) -> list[selectors.WaveSeen]:
        of_page: dict[int, list[selectors.WaveSeen]] = getattr(self.context["view"], "seen", {})
        return of_page.get(campaign.pk) or selectors.waves_of([campaign])[campaign.pk]


class DigestSerializer(serializers.Serializer[Any]):
    digest = serializers.CharField(max_length=64)


class ReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500)


class CancelledSerializer(serializers.Serializer[Any]):
    """`under_way` terminals have what was sent: it cannot be taken back."""

    taken_back = serializers.IntegerField()
    under_way = serializers.IntegerField()


class RetriedSerializer(serializers.Serializer[Any]):
    terminals = serializers.IntegerField()


class MemberSerializer(ModelSerializer[Member]):
    """What became of one terminal; `detail` says why, in words."""

    serial = serializers.CharField(source="terminal.serial", read_only=True)
    wave = serializers.IntegerField(source="wave.number", read_only=True)
    detail = serializers.CharField(source="reason", read_only=True)

    class Meta:
        model = Member
        fields = [
            "terminal",
            "serial",
            "wave",
            "state",
            "code",
            "detail",
            "attempt",
            "due_at",
            "ordered_at",
            "finished_at",
        ]


class CampaignViewSet(IdempotentPosts, ReadViewSet):
    """One thing on its way to many terminals, in waves. POST proposes one; it needs what its kind needs, too."""

    queryset = Campaign.objects.select_related("proposed_by", "approved_by")
    serializer_class = CampaignSerializer
    filterset_fields = ["kind", "state", "thing"]
    needs: ClassVar[dict[str, str]] = {
        **dict.fromkeys(
            ("create", "preview", "start", "pause", "resume", "force", "cancel", "retry", "roll_back"),
            planning.PROPOSE,
        ),
        "approve": services.APPROVE,
        "members": planning.VIEW_MEMBERS,
    }

    def paginate_queryset(self, queryset: Any) -> Any:
        """A page's waves are read together."""
        page = super().paginate_queryset(queryset)
        self.seen = selectors.waves_of(page or [])
        return page

    def _wanted(self, wanted: serializers.Serializer[Any]) -> dict[str, Any]:
        wanted.is_valid(raise_exception=True)
        said = dict(wanted.validated_data)
        said["text"] = said.pop("filter")
        return said

    def _mine(self, request: Request) -> Any:
        """The campaign that is run, by somebody whose log-in is fresh; pausing one needs no more than to be there."""
        campaign = self.get_object()
        refuse_stale(request, planning.PROPOSE)
        return campaign

    def _answer(self) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=ProposalSerializer, responses={201: CampaignSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        refuse_stale(request, planning.PROPOSE)
        made = planning.propose(user=request.user, **self._wanted(ProposalSerializer(data=request.data)))
        return Response(self.get_serializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=WantedCampaignSerializer, responses={200: CampaignPreviewSerializer})
    @action(detail=False, methods=["post"])
    def preview(self, request: Request) -> Response:
        """Say what a campaign would do. Changes nothing."""
        found = planning.preview(user=request.user, **self._wanted(WantedCampaignSerializer(data=request.data)))
        left_out = [
            {"reason": one.refusal.reason, "detail": sentence(one.refusal), "count": one.number, "serials": one.serials}
            for one in found.left_out
        ]
        return Response({**found._asdict(), "left_out": left_out})

    @extend_schema(request=DigestSerializer, responses={200: CampaignSerializer})
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Agree to what somebody else proposed."""
        campaign = self.get_object()
        refuse_stale(request, services.APPROVE)
        said = DigestSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        services.approve(campaign=campaign, user=request.user, **said.validated_data)
        return self._answer()

    @extend_schema(request=None, responses={200: CampaignSerializer})
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:
        """Let the first wave begin."""
        services.start(campaign=self._mine(request), user=request.user)
        return self._answer()

    @extend_schema(request=None, responses={200: CampaignSerializer})
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Ask no more terminals; those that were asked go on."""
        services.pause(campaign=self.get_object(), user=request.user)
        return self._answer()

    @extend_schema(request=None, responses={200: CampaignSerializer})
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on; a guard that does not hold is looked at again first."""
        services.resume(campaign=self._mine(request), user=request.user)
        return self._answer()

    @extend_schema(request=ReasonSerializer, responses={200: CampaignSerializer})
    @action(detail=True, methods=["post"])
    def force(self, request: Request, pk: str) -> Response:
        """Go on although a guard does not hold; the reason is kept."""
        campaign = self._mine(request)
        said = ReasonSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        services.force(campaign=campaign, user=request.user, **said.validated_data)
        return self._answer()

    @extend_schema(request=None, responses={200: CancelledSerializer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """End it: nobody is asked any more, and what nobody can have seen is taken back."""
        return Response(services.cancel(campaign=self._mine(request), user=request.user)._asdict())

    @extend_schema(request=None, responses={200: RetriedSerializer})
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Let those that failed or were left out have another turn."""
        return Response({"terminals": services.retry_failed(campaign=self._mine(request), user=request.user)})

    @extend_schema(request=None, responses={201: CampaignSerializer(many=True)})
    @action(detail=True, methods=["post"], pagination_class=None)
    def roll_back(self, request: Request, pk: str) -> Response:
        """Propose campaigns that bring back what was there before."""
        made = services.roll_back(campaign=self._mine(request), user=request.user)
        return Response(self.get_serializer(made, many=True).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={200: MemberSerializer(many=True)})
    @action(detail=True, pagination_class=None)
    def members(self, request: Request, pk: str) -> Response:
        """The first thousand terminals that failed or were left out, and why."""
        return Response(MemberSerializer(selectors.in_trouble(self.get_object(), request.user)[:1000], many=True).data)
