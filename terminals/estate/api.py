"""The estate in the API: merchants, stores, terminal models, terminals."""

from typing import Any, ClassVar, cast

import django_filters
from django.contrib.postgres.fields import ArrayField
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import (
    EditGuard,
    EditViewSet,
    IdempotentPosts,
    ModelAuditMixin,
    ReadViewSet,
    actor_of,
    field_errors,
)
from terminals.common.api.filters import ByIdFilterSet, IdFilter
from terminals.common.api.serializers import ModelSerializer, reachable
from terminals.common.audit.services import stored_values
from terminals.common.scope import within
from terminals.common.states import Transition
from terminals.common.words import sentence
from terminals.estate import services
from terminals.estate.models import Merchant, Organisation, Store, Terminal, TerminalGroup, TerminalModel
from terminals.estate.rules import TerminalState, TerminalTransition, check_identifier, check_tags, check_time_zone
from terminals.estate.selectors import check_new_merchant, check_parent, containing, ids_or_query
from terminals.estate.targets.choosing import check_filter, matching


class OrganisationSerializer(ModelSerializer[Organisation]):
    class Meta:
        model = Organisation
        fields = ["id", "name", "kind", "parent", "created_at"]

    def validate_parent(self, parent: Organisation | None) -> Organisation | None:
        with field_errors():
            check_parent(self.instance, parent)
        return parent


class GroupSerializer(ModelSerializer[TerminalGroup]):
    """Members are written, a thousand at most, and listed by `?filter=group = "NAME"` on terminals. Members elsewhere in the tree
    stay."""

    class Meta:
        model = TerminalGroup
        fields = ["id", "name", "filter", "members", "organisation", "merchant", "store", "created_at"]
        extra_kwargs = {"members": {"required": False, "write_only": True}}
        validators: list[Any] = []

    def validate_filter(self, value: str) -> str:
        if value:
            with field_errors():
                check_filter(value, self.context["request"].user)
        return value

    def validate_members(self, members: list[Terminal]) -> list[Terminal]:
        if len(members) > 1000:
            raise serializers.ValidationError(gettext("at most 1,000 at a time; bulk work joins any number"))
        if self.instance is None:
            return members
        seen = reachable(self.instance.members.all(), self.context).values("pk")
        return [*members, *self.instance.members.exclude(pk__in=seen)]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        group = self.instance
        text = attrs.get("filter", group.filter if group else "")
        if text and (attrs["members"] if "members" in attrs else group and group.members.exists()):
            raise serializers.ValidationError(gettext("a group has a filter or named terminals, not both"))
        return attrs


class MerchantSerializer(ModelSerializer[Merchant]):
    class Meta:
        model = Merchant
        fields = ["id", "organisation", "name", "mid", "created_at"]

    def validate_mid(self, value: str) -> str:
        with field_errors():
            return check_identifier(value)


class StoreSerializer(ModelSerializer[Store]):
    class Meta:
        model = Store
        fields = ["id", "merchant", "name", "city", "time_zone", "created_at"]

    def validate_merchant(self, merchant: Merchant) -> Merchant:
        with field_errors():
            check_new_merchant(self.instance, merchant)
        return merchant

    def validate_time_zone(self, value: str) -> str:
        with field_errors():
            return check_time_zone(value)


class TerminalModelSerializer(ModelSerializer[TerminalModel]):
    class Meta:
        model = TerminalModel
        fields = ["id", "vendor", "name", "platform", "capabilities"]


class TerminalSerializer(ModelSerializer[Terminal]):
    class Meta:
        model = Terminal
        fields = [
            "id",
            "serial",
            "device_id",
            "model",
            "store",
            "tid",
            "mid",
            "state",
            "tags",
            "replaces",
            "registered_at",
        ]
        read_only_fields = ["device_id", "state", "replaces", "registered_at"]

    def validate_store(self, store: Store) -> Store:
        if self.instance is not None and store.pk != self.instance.store_id:
            for refusal in services.refuse_move([self.instance.pk], store).values():
                raise serializers.ValidationError(sentence(refusal))
        return store

    def validate_tid(self, value: str) -> str:
        with field_errors():
            return check_identifier(value)

    def validate_mid(self, value: str) -> str:
        with field_errors():
            return check_identifier(value)

    def validate_tags(self, value: list[str]) -> list[str]:
        with field_errors():
            check_tags(value)
        return value

    def validate_serial(self, value: str) -> str:
        """The serial names the terminal on the link for good."""
        if self.instance is not None and value != self.instance.serial:
            told = gettext("a serial cannot be changed; retire this terminal and register the other")
            raise serializers.ValidationError(told)
        return value


class TerminalsSerializer(serializers.Serializer[Any]):
    """Which terminals, by id; looked up in one query."""

    terminals = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1), allow_empty=False, max_length=1000
    )

    def validate_terminals(self, ids: list[int]) -> list[Terminal]:
        found = reachable(Terminal.objects.all(), self.context).in_bulk(ids)
        if missing := [str(pk) for pk in ids if pk not in found]:
            told = gettext("there is no terminal %(ids)s") % {"ids": ", ".join(missing[:5])}
            raise serializers.ValidationError(told)
        return list(found.values())


class OrganisationViewSet(EditViewSet):
    """Processors, acquirers and resellers, one below the other; merchants stand below them."""

    queryset = Organisation.objects.all()
    serializer_class = OrganisationSerializer
    filterset_fields = ["name", "kind", "parent"]


class GroupViewSet(EditViewSet):
    """Terminals that are meant together: by a filter, or by name. `?filter=group = "NAME"` on terminals lists them."""

    queryset = TerminalGroup.objects.all()
    serializer_class = GroupSerializer
    filterset_fields = ["name", "organisation", "merchant", "store"]

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        with transaction.atomic():
            super().perform_create(serializer)
            services.record_members(cast(TerminalGroup, serializer.instance), (), actor=actor_of(self.request))

    def perform_update(self, serializer: serializers.BaseSerializer[Any]) -> None:
        group = cast(TerminalGroup, serializer.instance)
        before = list(group.members.values_list("pk", flat=True))
        with transaction.atomic():
            super().perform_update(serializer)
            services.record_members(group, before, actor=actor_of(self.request))


class MerchantViewSet(EditViewSet):
    """Who sells."""

    queryset = Merchant.objects.all()
    serializer_class = MerchantSerializer
    filterset_fields = ["organisation", "name", "mid"]


class StoreViewSet(EditViewSet):
    """Where a merchant sells, and its clock."""

    queryset = Store.objects.all()
    serializer_class = StoreSerializer

    filterset_fields = ["merchant", "name", "city"]

    def perform_update(self, serializer: serializers.BaseSerializer[Any]) -> None:
        before = cast(Store, serializer.instance).time_zone
        with transaction.atomic():
            super().perform_update(serializer)
            services.follow_clock(cast(Store, serializer.instance), before)


class TerminalModelViewSet(EditViewSet):
    """Makes of terminal, and the platform that a release is built for."""

    queryset = TerminalModel.objects.all()
    serializer_class = TerminalModelSerializer
    filterset_fields = ["vendor", "name", "platform"]


class TerminalFilter(ByIdFilterSet):
    serial_contains = django_filters.CharFilter(method="with_part_of_serial", label="part of a serial")
    tag = django_filters.CharFilter(field_name="tags", lookup_expr="contains", method="with_tag")
    merchant = IdFilter(field_name="store__merchant")
    filter = django_filters.CharFilter(
        method="by_filter", label="the filter language, docs/filters.md", max_length=2000
    )
    organisation = IdFilter(method="under_organisation", label="an organisation, and those below it")

    class Meta:
        model = Terminal
        fields = ["serial", "state", "store", "model", "tid"]
        filter_overrides = {ArrayField: {"filter_class": django_filters.CharFilter}}

    def with_part_of_serial(self, queryset: QuerySet[Terminal], name: str, value: str) -> QuerySet[Terminal]:
        return containing(queryset, "serial", value)

    def by_filter(self, queryset: QuerySet[Terminal], name: str, value: str) -> QuerySet[Terminal]:
        return matching(queryset, value, self.request.user)

    def under_organisation(self, queryset: QuerySet[Terminal], name: str, value: int) -> QuerySet[Terminal]:
        known = within(Organisation.objects.all(), self.request.user, "terminals.view_organisation")
        above = known.filter(pk=value).values_list("path", flat=True).first()
        return queryset.filter(path__startswith=above) if above else queryset.none()

    def with_tag(self, queryset: QuerySet[Terminal], name: str, value: str) -> QuerySet[Terminal]:
        return queryset.filter(pk__in=ids_or_query(Terminal.objects.order_by().filter(tags__contains=[value])))


class TransitionSerializer(serializers.Serializer[Any]):
    """Why an operator suspends or resumes a terminal."""

    reason = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class RetirementSerializer(TransitionSerializer):
    """Why an operator retires a terminal, and the money that it is agreed to lose."""

    write_off = serializers.DictField(
        child=serializers.IntegerField(),
        required=False,
        help_text="Minor units by currency, just what is not settled, as the refusal without it says",
    )


class TerminalViewSet(EditGuard, IdempotentPosts, ModelAuditMixin, mixins.UpdateModelMixin, ReadViewSet):
    """Terminals are never deleted: they retire, because their money and their audit remain."""

    queryset = Terminal.objects.all()
    serializer_class: type[serializers.BaseSerializer[Any]] = TerminalSerializer
    filterset_class: type[django_filters.FilterSet] = TerminalFilter
    ordering_fields = ("serial", "id")  # unique: a cursor backwards would lose rows among equals
    needs: ClassVar[dict[str, str]] = {t.name: permission for t, permission in services.TRANSITION_PERMISSIONS.items()}

    def perform_update(self, serializer: serializers.BaseSerializer[Any]) -> None:
        terminal = cast(Terminal, serializer.instance)
        with transaction.atomic():
            old = stored_values(terminal)
            super().perform_update(serializer)
            services.note_edit(terminal, old, actor=actor_of(self.request))

    @extend_schema(request=TransitionSerializer)
    @action(detail=True, methods=["post"])
    def suspend(self, request: Request, pk: str) -> Response:
        return self._transition(request, TerminalTransition.suspend)

    @extend_schema(request=TransitionSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        return self._transition(request, TerminalTransition.resume)

    @extend_schema(request=RetirementSerializer)
    @action(detail=True, methods=["post"])
    def retire(self, request: Request, pk: str) -> Response:
        return self._transition(request, TerminalTransition.retire, RetirementSerializer)

    def _transition(
        self,
        request: Request,
        transition: Transition[TerminalState],
        body: type[TransitionSerializer] = TransitionSerializer,
    ) -> Response:
        terminal = self.get_object()
        wanted = body(data=request.data)
        wanted.is_valid(raise_exception=True)
        services.change_state(
            terminal=terminal, transition=transition, actor=actor_of(request), **wanted.validated_data
        )
        return Response(self.get_serializer(self.get_object()).data)
