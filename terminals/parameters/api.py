"""Templates and values in the API: publish, preview, set, restore; what a terminal has and where each value comes from."""

from typing import Any, ClassVar

from django.db.models import Model
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import IdempotentPosts, ReadViewSet, actor_of
from terminals.common.api.serializers import ModelSerializer
from terminals.common.scope import holds, reach_of, within
from terminals.estate.levels import INSTALLATION, Level
from terminals.estate.models import Terminal
from terminals.parameters import rules, services
from terminals.parameters.effective import effective
from terminals.parameters.models import LEVELS, ParameterSet, ParameterTemplate, TemplateVersion, TerminalParameters


class TemplateVersionSerializer(ModelSerializer[TemplateVersion]):
    """POST writes the next version of the named template. `writeOnly` properties are secrets; the format `money` is an object of
    currency and minor units."""

    name = serializers.CharField(max_length=60, source="template.name")

    class Meta:
        model = TemplateVersion
        fields = ["id", "name", "version", "schema", "created_at", "created_by"]
        read_only_fields = ["version", "created_at", "created_by"]
        validators: list[Any] = []


class TemplateViewSet(IdempotentPosts, mixins.CreateModelMixin, ReadViewSet):
    """Versions of templates, the latest first; the latest of a name is in force."""

    queryset = TemplateVersion.objects.select_related("template")
    serializer_class = TemplateVersionSerializer
    filterset_fields = ["template__name", "version"]

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        said = serializer.validated_data
        serializer.instance = services.publish_template(
            name=said["template"]["name"], schema=said["schema"], actor=actor_of(self.request)
        )


class ParameterSetSerializer(ModelSerializer[ParameterSet]):
    """What is set at a level: the one that is named, or the whole installation. `values` replaces all that was set there; a
    secret is read as `{"$secret": "set"}`, and stays where that is written."""

    template = serializers.SlugRelatedField(slug_field="name", queryset=ParameterTemplate.objects.all())
    values = serializers.DictField()

    class Meta:
        model = ParameterSet
        fields = [
            "id",
            "template",
            *LEVELS,
            "values",
            "revision",
            "is_current",
            "set_at",
            "set_by",
        ]
        read_only_fields = ["revision", "is_current", "set_at", "set_by"]
        extra_kwargs = {name: {"required": False, "allow_null": True} for name in LEVELS}
        validators: list[Any] = []

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        named = [name for name in LEVELS if attrs.get(name) is not None]
        if len(named) > 1:
            raise serializers.ValidationError("name one level, or none for the whole installation")
        return attrs

    def to_representation(self, one: ParameterSet) -> dict[str, Any]:
        return super().to_representation(one) | {"values": rules.shown(one.values)}


class InvalidSerializer(serializers.Serializer[Any]):
    serial = serializers.CharField()
    detail = serializers.CharField()


class ParameterPreviewSerializer(serializers.Serializer[Any]):
    """`below` terminals stand below the level, for `touched` something changes; `invalid` would get what does not fit."""

    below = serializers.IntegerField()
    touched = serializers.IntegerField()
    serials = serializers.ListField(child=serializers.CharField())
    invalid = serializers.IntegerField()
    examples = InvalidSerializer(many=True)


def _shown(found: services.Preview) -> dict[str, Any]:
    examples = [{"serial": serial, "detail": problem} for serial, problem in found.invalid[:100]]
    return found._asdict() | {"invalid": len(found.invalid), "examples": examples}


class ParameterSetViewSet(IdempotentPosts, ReadViewSet):
    """POST sets what holds at a level, as a new revision; terminals for which something changes get it in the background."""

    queryset = ParameterSet.objects.select_related("template")
    serializer_class = ParameterSetSerializer
    filterset_fields = ["template__name", "is_current", *LEVELS]
    needs: ClassVar[dict[str, str]] = dict.fromkeys(
        ("create", "preview", "restore", "preview_restoring"), services.SET_VALUES
    )

    @extend_schema(request=ParameterSetSerializer, responses={201: ParameterSetSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        made = services.set_values(actor=actor_of(request), **self._wanted(request))
        return Response(self.get_serializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=ParameterSetSerializer, responses={200: ParameterPreviewSerializer})
    @action(detail=False, methods=["post"])
    def preview(self, request: Request) -> Response:
        """Say what setting these values would do. Changes nothing."""
        return Response(_shown(services.preview(**self._wanted(request))))

    @extend_schema(request=None, responses={201: ParameterSetSerializer})
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, pk: str) -> Response:
        """Set again what this revision said, as a new one."""
        made = services.restore(earlier=self.get_object(), actor=actor_of(request))
        return Response(self.get_serializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses={200: ParameterPreviewSerializer})
    @action(detail=True, methods=["post"], url_path="restore/preview")
    def preview_restoring(self, request: Request, pk: str) -> Response:
        """Say what setting this revision again would do. Changes nothing."""
        return Response(_shown(services.preview_restoring(earlier=self.get_object())))

    def _wanted(self, request: Request) -> dict[str, Any]:
        """Return what the services are asked for; one who may not set values at the level is refused."""
        wanted = self.get_serializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        said = wanted.validated_data
        name, node = next(((name, said[name]) for name in LEVELS if said.get(name) is not None), ("", None))
        check_level(request.user, node)
        level: Level = (name, node.pk) if node is not None else INSTALLATION
        return {"template": said["template"], "level": level, "values": said["values"]}


def check_level(user: Any, node: Model | None) -> None:
    """Raise PermissionDenied where somebody may not set values at a node, or, without one, for the whole installation."""
    everywhere = reach_of(user, services.SET_VALUES).everywhere
    if not everywhere and (node is None or not holds(user, services.SET_VALUES, node)):
        raise PermissionDenied


class OriginSerializer(serializers.Serializer[Any]):
    """A value and where it comes from: the template, or what is set at a level."""

    name = serializers.CharField()
    value = serializers.JSONField()
    level = serializers.CharField(help_text="template, installation, organisation, merchant, store, group or terminal")
    where = serializers.CharField()
    set = serializers.IntegerField(allow_null=True)


class EffectiveSerializer(serializers.Serializer[Any]):
    """What a terminal shall have, and how far it is with it."""

    template = serializers.CharField(allow_null=True)
    values = OriginSerializer(many=True)
    wanted = serializers.IntegerField(allow_null=True, help_text="Version of the document that it shall have")
    applied = serializers.IntegerField(allow_null=True, help_text="Version of the document that it applied")
    state = serializers.CharField(allow_null=True)
    detail = serializers.CharField(help_text="Why there is nothing to send")


def effective_of(terminal: Terminal) -> dict[str, Any]:
    """Return a terminal's effective parameters with the provenance of each, as EffectiveSerializer shows them."""
    found = effective(Terminal.objects.filter(pk=terminal.pk)).get(terminal.pk)
    told = TerminalParameters.objects.filter(terminal=terminal).first()
    body: dict[str, Any] = {
        "template": str(found.template) if found else None,
        "values": [],
        "wanted": told and told.wanted_id,
        "applied": told and told.applied_id,
        "state": told and told.state,
        "detail": told.why() if told else "",
    }
    if found is not None:
        sets = ParameterSet.objects.select_related("organisation", "merchant", "store__merchant", "group", "terminal")
        known = sets.in_bulk(set(found.origins.values()) - {0})
        for name, value in rules.shown(found.values).items():
            one = known.get(found.origins[name])
            body["values"].append(
                {
                    "name": name,
                    "value": value,
                    "level": one.level if one else "template",
                    "where": one.level_name if one else str(found.template),
                    "set": one.pk if one else None,
                }
            )
    return body


def node_at(kind: str, key: int, user: Any, permission: str) -> Model | None:
    """Return a level's node where somebody holds a permission there; none for the whole installation. Raises NotFound."""
    if kind == INSTALLATION[0]:
        if not reach_of(user, permission).everywhere:
            raise NotFound
        return None
    model = services.NODES.get(kind)
    node = within(model.objects.all(), user, permission).filter(pk=key).first() if model else None
    if node is None:
        raise NotFound
    return node  # type: ignore[no-any-return]
