"""Packages, releases and installations in the API."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.utils.translation import gettext
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from firmware import materials, releases, services
from firmware.models import SIGNED_OF_PACKAGE, Installation, Package, Release, ReleaseComponent, Weakness
from terminals.common.api.base import EditViewSet, IdempotentPosts, ReadViewSet, actor_of
from terminals.common.api.parsers import parse_json
from terminals.common.api.serializers import ModelSerializer
from terminals.estate.api import TerminalsSerializer


class PackageSerializer(ModelSerializer[Package]):
    class Meta:
        model = Package
        fields = ["id", "name", "component", "kind", "description"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        package = self.instance
        if package is not None and package.releases.exists():
            told = gettext("its releases are signed under the old one; make a new package")
            changed = [
                name for name in SIGNED_OF_PACKAGE if attrs.get(name, getattr(package, name)) != getattr(package, name)
            ]
            if changed:
                raise serializers.ValidationError({name: [told] for name in changed})
        return attrs


@extend_schema_field(serializers.DictField(child=serializers.CharField()))
class BesideField(serializers.JSONField):
    """Component -> version; in a form as JSON text."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            return data
        try:
            return parse_json(data)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None


class ReleaseSerializer(ModelSerializer[Release]):
    """`listed_at` is null as long as the release repository does not list it; until then it cannot be sent."""

    artifact = serializers.FileField(write_only=True)
    requires = BesideField(required=False)
    conflicts = BesideField(required=False)

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
            "notes",
            "models_only",
            "requires",
            "conflicts",
            "expires_at",
            "state",
            "state_reason",
            "created_at",
            "created_by",
            "approved_at",
            "approved_by",
            "listed_at",
        ]
        read_only_fields = [
            "size_bytes",
            "sha256",
            "state",
            "state_reason",
            "created_at",
            "created_by",
            "approved_at",
            "approved_by",
            "listed_at",
        ]
        validators: list[Any] = []


class ApprovalSerializer(serializers.Serializer[Any]):
    """`sha256` is the digest of the file that was looked at."""

    sha256 = serializers.RegexField("^[0-9a-f]{64}$")


class AssignmentSerializer(TerminalsSerializer):
    """`downgrade`: it may replace a newer version."""

    downgrade = serializers.BooleanField(default=False)


class ReleaseReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")


class ComponentSerializer(ModelSerializer[ReleaseComponent]):
    class Meta:
        model = ReleaseComponent
        fields = ["id", "release", "name", "version", "purl", "licences"]


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


class PackageViewSet(EditViewSet):
    """Payment applications and other software, release by release."""

    queryset = Package.objects.all()
    serializer_class = PackageSerializer
    filterset_fields = ["name", "component"]


class ReleaseViewSet(IdempotentPosts, mixins.CreateModelMixin, ReadViewSet):
    """POST takes multipart form data: package, version, platform and the file as `artifact`; somebody else approves it then."""

    queryset = Release.objects.select_related("package").prefetch_related("models_only")
    serializer_class = ReleaseSerializer
    filterset_fields = ["package", "version", "platform", "state"]
    needs: ClassVar[dict[str, str]] = {
        "assign": services.ASSIGN_RELEASE,
        "bill_of_materials": releases.UPLOAD_RELEASE,
        **dict.fromkeys(("approve", "deprecate", "reinstate", "withdraw"), releases.APPROVE_RELEASE),
    }

    def get_parsers(self) -> list[Any]:
        return [MultiPartParser()] if self.action_map.get("post") == "create" else super().get_parsers()

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        serializer.instance = releases.publish_release(actor=actor_of(self.request), **serializer.validated_data)

    @extend_schema(request=AssignmentSerializer, responses={202: InstallationSerializer(many=True)})
    @action(detail=True, methods=["post"], pagination_class=None)
    def assign(self, request: Request, pk: str) -> Response:
        """Send this release to terminals: to all of them, or to none where one cannot take it."""
        wanted = AssignmentSerializer(data=request.data, context=self.get_serializer_context())
        wanted.is_valid(raise_exception=True)
        installations = services.assign_release(
            release=self.get_object(), actor=actor_of(request), **wanted.validated_data
        )
        return Response(InstallationSerializer(installations, many=True).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=ApprovalSerializer, responses=ReleaseSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Agree to a release that somebody else built; the release repository lists it then."""
        wanted = ApprovalSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        return self._answer(releases.approve_release, **wanted.validated_data)

    @extend_schema(request=ReleaseReasonSerializer, responses=ReleaseSerializer)
    @action(detail=True, methods=["post"])
    def deprecate(self, request: Request, pk: str) -> Response:
        """Say that nobody should choose this release any more; it can still be sent."""
        return self._answer(releases.deprecate_release, **self._reason())

    @extend_schema(request=None, responses=ReleaseSerializer)
    @action(detail=True, methods=["post"])
    def reinstate(self, request: Request, pk: str) -> Response:
        """Take a deprecation back."""
        return self._answer(releases.reinstate_release)

    @extend_schema(request=ReleaseReasonSerializer, responses=ReleaseSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Take a release out of the repository for good, with a reason: no terminal can fetch it any more."""
        return self._answer(releases.withdraw_release, **self._reason())

    @extend_schema(request=OpenApiTypes.OBJECT, responses=ComponentSerializer(many=True))
    @action(detail=True, methods=["post"], url_path="bill-of-materials", pagination_class=None)
    def bill_of_materials(self, request: Request, pk: str) -> Response:
        """Attach the release's bill of materials: a CycloneDX document (JSON) as the body, with the vulnerabilities
        that are known of it. It replaces an earlier one."""
        parts = materials.attach(release=self.get_object(), document=request.data, actor=actor_of(request))
        return Response(ComponentSerializer(parts, many=True).data)

    def _reason(self) -> dict[str, Any]:
        wanted = ReleaseReasonSerializer(data=self.request.data)
        wanted.is_valid(raise_exception=True)
        return dict(wanted.validated_data)

    def _answer(self, verb: Callable[..., Release], **arguments: Any) -> Response:
        release = verb(release=self.get_object(), actor=actor_of(self.request), **arguments)
        return Response(self.get_serializer(release).data)


class ComponentViewSet(ReadViewSet):
    """What releases are made of, by their bills of materials: `?name=openssl&version=3.0.7`, as the document spells it."""

    queryset = ReleaseComponent.objects.select_related("release")
    serializer_class = ComponentSerializer
    filterset_fields = ["name", "version", "release"]


class WeaknessSerializer(ModelSerializer[Weakness]):
    class Meta:
        model = Weakness
        fields = ["id", "release", "identifier", "severity", "part"]


class WeaknessViewSet(ReadViewSet):
    """Known weaknesses of releases, by their bills of materials: `?identifier=CVE-2026-1234`, or those of a release."""

    queryset = Weakness.objects.all()
    serializer_class = WeaknessSerializer
    filterset_fields = ["identifier", "severity", "release"]


class InstallationViewSet(ReadViewSet):
    """Releases on their way to terminals, and what came of them."""

    queryset = Installation.objects.all()
    serializer_class = InstallationSerializer
    filterset_fields = ["terminal", "release", "state"]
