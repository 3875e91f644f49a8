"""Settlement accounts in the API. A number goes in once and comes out without its middle."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import IdempotentPosts, ReadViewSet, actor_of
from terminals.common.api.serializers import ModelSerializer
from terminals.settlement.accounts import services
from terminals.settlement.accounts.models import SettlementAccount


class SettlementAccountSerializer(ModelSerializer[SettlementAccount]):
    """`number` is an IBAN, or with `local_country` that country's form (US as routing/account, NZ, NO, CZ)."""

    number = serializers.CharField(write_only=True, max_length=40)
    local_country = serializers.CharField(write_only=True, max_length=2, required=False, allow_blank=True)

    class Meta:
        model = SettlementAccount
        fields = [
            "id",
            "merchant",
            "currency",
            "holder",
            "number",
            "local_country",
            "bic",
            "masked",
            "country",
            "state",
        ]
        fields += ["proposed_by", "proposed_at", "decided_by", "decided_at"]
        read_only_fields = ["masked", "country", "state", "proposed_by", "proposed_at", "decided_by", "decided_at"]
        validators: list[Any] = []


class SettlementAccountViewSet(IdempotentPosts, mixins.CreateModelMixin, ReadViewSet):
    """POST proposes an account; it counts when somebody else has approved it."""

    needs: ClassVar[dict[str, str]] = {
        "create": services.PROPOSE,
        "approve": services.APPROVE,
        "reject": services.APPROVE,
    }
    queryset = SettlementAccount.objects.all()
    serializer_class = SettlementAccountSerializer
    filterset_fields = ["merchant", "state", "currency"]

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        said = dict(serializer.validated_data)
        said["country"], said["bank"] = said.pop("local_country", ""), said.pop("bic", "")
        serializer.instance = services.propose(actor=actor_of(self.request), **said)

    @extend_schema(request=None, responses={200: SettlementAccountSerializer})
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Let it count, in the place of the present one."""
        account = services.approve(account=self.get_object(), actor=actor_of(request))
        return Response(self.get_serializer(account).data, status=status.HTTP_200_OK)

    @extend_schema(request=None, responses={200: SettlementAccountSerializer})
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Turn it down."""
        account = services.reject(account=self.get_object(), actor=actor_of(request))
        return Response(self.get_serializer(account).data, status=status.HTTP_200_OK)
