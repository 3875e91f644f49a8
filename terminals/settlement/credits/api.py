"""Credit profiles, files and entries in the API."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import EditViewSet, IdempotentPosts, ReadViewSet, actor_of, field_errors
from terminals.common.api.parsers import InteroperableJSONParser
from terminals.common.api.serializers import ModelSerializer
from terminals.common.scope import within
from terminals.settlement.credits import rules, services
from terminals.settlement.credits.models import CreditEntry, CreditFile, CreditProfile, CreditReject


class CreditProfileSerializer(ModelSerializer[CreditProfile]):
    """`settings`: `reference` (`TID {tid} BATCH {batch}`), and for CSV `columns`, `delimiter`, `decimal_mark`, ..."""

    class Meta:
        model = CreditProfile
        fields = ["id", "organisation", "name", "format", "settings"]

    def validate(self, attrs: Any) -> Any:
        present = self.instance
        form = attrs.get("format", present.format if present else "")
        with field_errors():
            if present is not None:
                organisation = attrs.get("organisation", present.organisation)
                services.refuse_moved_profile(
                    present, organisation_id=organisation.pk if organisation else None, file_format=form
                )
            attrs["settings"] = rules.checked(form, attrs.get("settings", present.settings if present else {}))
        return attrs


class CreditProfileViewSet(EditViewSet):
    """How one acquirer's or bank's files are read, and whose terminals they may name."""

    queryset = CreditProfile.objects.all()
    serializer_class = CreditProfileSerializer
    filterset_fields = ["organisation", "format"]


class CreditFileSerializer(ModelSerializer[CreditFile]):
    """`percent` is how far the work has come, `why` says why a file failed."""

    percent = serializers.IntegerField(read_only=True)
    why = serializers.CharField(read_only=True)

    class Meta:
        model = CreditFile
        fields = [
            "id",
            "profile",
            "file_name",
            "sha256",
            "size_bytes",
            "state",
            "percent",
            "reason",
            "why",
            "entry_count",
            "other_count",
            "reject_count",
            "brought_by",
            "brought_at",
            "finished_at",
            "withdrawn_by",
        ]


class BringSerializer(serializers.Serializer[Any]):
    profile = serializers.PrimaryKeyRelatedField(queryset=CreditProfile.objects.all())
    file = serializers.FileField()


class CreditRejectSerializer(ModelSerializer[CreditReject]):
    """An entry that could not be read; `detail` says why."""

    detail = serializers.CharField(source="why", read_only=True)

    class Meta:
        model = CreditReject
        fields = ["number", "reason", "detail"]


class CreditEntrySerializer(ModelSerializer[CreditEntry]):
    """Amounts are minor units: `net_minor` arrived, `fee_minor` was kept."""

    account = serializers.CharField(source="account.masked", read_only=True, allow_null=True)

    class Meta:
        model = CreditEntry
        exclude = ("identity", "profile")


class CreditFileViewSet(IdempotentPosts, ReadViewSet):
    """POST brings a file, which is read in the background; `withdraw` takes it back."""

    needs: ClassVar[dict[str, str]] = {"create": services.BRING, "withdraw": services.WITHDRAW}
    queryset = CreditFile.objects.all()
    serializer_class = CreditFileSerializer
    parser_classes = (MultiPartParser, InteroperableJSONParser)
    filterset_fields = ["profile", "state", "sha256"]

    @extend_schema(request={"multipart/form-data": BringSerializer}, responses={202: CreditFileSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        wanted = BringSerializer(data=request.data)
        wanted.fields["profile"].queryset = within(  # type: ignore[attr-defined]
            CreditProfile.objects.all(), request.user, services.BRING
        )
        wanted.is_valid(raise_exception=True)
        file = wanted.validated_data["file"]
        profile = wanted.validated_data["profile"]
        job = services.bring(profile=profile, file=file, name=file.name, actor=actor_of(request))
        return Response(self.get_serializer(job).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, responses={202: CreditFileSerializer})
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Take it back: none of its entries counts any more."""
        job = self.get_object()
        services.withdraw(job=job, actor=actor_of(request))
        return Response(self.get_serializer(job).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(responses={200: CreditRejectSerializer(many=True)})
    @action(detail=True, pagination_class=None)
    def rejects(self, request: Request, pk: str) -> Response:
        """The entries that could not be read, and why."""
        return Response(CreditRejectSerializer(self.get_object().rejects.all(), many=True).data)


class CreditEntryViewSet(ReadViewSet):
    """What files tell of batches, entry by entry."""

    queryset = CreditEntry.objects.select_related("account")
    serializer_class = CreditEntrySerializer
    filterset_fields = ["file", "terminal", "batch_number", "state", "tid", "value_date"]
