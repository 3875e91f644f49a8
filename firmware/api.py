"""Packages, releases, baselines and installations in the API."""

from typing import Any, ClassVar

from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from firmware import services
from firmware.models import Baseline, Installation, Package, Release
from terminals.common.api.base import EditViewSet, IdempotentPosts, ReadViewSet, actor_of
from terminals.common.api.serializers import ModelSerializer
from terminals.estate.api import TerminalsSerializer
from terminals.estate.models import TerminalModel


class PackageSerializer(ModelSerializer[Package]):
    class Meta:
        model = Package
        fields = ["id", "name", "component", "description"]

    def validate_name(self, name: str) -> str:
        if self.instance is not None and name != self.instance.name and self.instance.releases.exists():
            told = gettext("the manifests of its releases are signed with the old name; make a new package")
            raise serializers.ValidationError(told)
        return name


class ReleaseSerializer(ModelSerializer[Release]):
    artifact = serializers.FileField(write_only=True)

    class Meta:
        model = Release
        fields = [
            "id",
            "package",
            "version",
            "platform",
            "artifact",
            "size_bytes",
            "sha256",
            "manifest",
            "created_at",
            "created_by",
        ]
        read_only_fields = ["size_bytes", "sha256", "manifest", "created_at", "created_by"]
        validators: list[Any] = []


class InstallationSerializer(ModelSerializer[Installation]):
    """`reasons` is why it did not succeed, as data; `reason` the same in words of the caller's language."""

    reason = serializers.CharField(read_only=True)

    class Meta:
        model = Installation
        fields = [
            "id",
            "terminal",
            "release",
            "state",
            "percent",
            "reasons",
            "reason",
            "command",
            "assigned_at",
            "assigned_by",
            "finished_at",
        ]


class BaselineSerializer(ModelSerializer[Baseline]):
    class Meta:
        model = Baseline
        fields = ["id", "model", "package", "release"]
        read_only_fields = ["package"]


class PackageViewSet(EditViewSet):
    """Payment applications and other software, release by release."""

    queryset = Package.objects.all()
    serializer_class = PackageSerializer
    filterset_fields = ["name", "component"]


class ReleaseViewSet(IdempotentPosts, mixins.CreateModelMixin, ReadViewSet):
    """POST takes multipart form data: package, version, platform and the file as `artifact`."""

    queryset = Release.objects.select_related("package")
    serializer_class = ReleaseSerializer
    filterset_fields = ["package", "version", "platform"]
    needs: ClassVar[dict[str, str]] = {"assign": services.ASSIGN_RELEASE}

    def get_parsers(self) -> list[Any]:
        return [MultiPartParser()] if self.action_map.get("post") == "create" else super().get_parsers()

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        serializer.instance = services.publish_release(actor=actor_of(self.request), **serializer.validated_data)

    @extend_schema(request=TerminalsSerializer, responses={202: InstallationSerializer(many=True)})
    @action(detail=True, methods=["post"], pagination_class=None)
    def assign(self, request: Request, pk: str) -> Response:
        """Send this release to terminals: to all of them, or to none where one cannot take it."""
        wanted = TerminalsSerializer(data=request.data, context=self.get_serializer_context())
        wanted.is_valid(raise_exception=True)
        installations = services.assign_release(
            release=self.get_object(), terminals=wanted.validated_data["terminals"], actor=actor_of(request)
        )
        return Response(InstallationSerializer(installations, many=True).data, status=status.HTTP_202_ACCEPTED)


class BaselineViewSet(IdempotentPosts, mixins.CreateModelMixin, ReadViewSet):
    """POST names the release that every terminal of a model shall run; it replaces the model's of that package."""

    needs: ClassVar[dict[str, str]] = {"create": services.SET_BASELINE}

    queryset = Baseline.objects.all()
    serializer_class = BaselineSerializer
    filterset_fields = ["model", "release"]

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        model: TerminalModel = serializer.validated_data["model"]
        release: Release = serializer.validated_data["release"]
        serializer.instance = services.set_baseline(model=model, release=release, actor=actor_of(self.request))


class InstallationViewSet(ReadViewSet):
    """Releases on their way to terminals, and what came of them."""

    queryset = Installation.objects.all()
    serializer_class = InstallationSerializer
    filterset_fields = ["terminal", "release", "state"]
