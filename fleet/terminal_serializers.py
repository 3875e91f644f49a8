"""The shapes of the API's terminals: what all features know of them, and what a caller says of new ones."""

from typing import Any

from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from fleet.pages import selectors
from terminals.common.api.base import field_errors
from terminals.common.facts.kinds import reasons_text
from terminals.common.scope import reach_of
from terminals.estate import api as estate
from terminals.estate.models import Terminal, TerminalModel
from terminals.estate.registering import MOST
from terminals.estate.rules import check_identifier
from terminals.health.api import HealthSampleSerializer, HealthStateSerializer


class LastSettlementSerializer(serializers.Serializer[Any]):
    """The latest finished settlement; amounts in minor units."""

    id = serializers.IntegerField()
    state = serializers.CharField()
    finished_at = serializers.DateTimeField()
    batch_number = serializers.IntegerField(allow_null=True)
    currency = serializers.CharField()
    reported_minor = serializers.IntegerField(allow_null=True)
    difference_minor = serializers.IntegerField(allow_null=True)
    reasons = serializers.ListField(child=serializers.DictField())
    reason = serializers.CharField()


class FleetTerminalSerializer(estate.TerminalSerializer):
    online = serializers.BooleanField(read_only=True)
    last_seen_at = serializers.DateTimeField(read_only=True, allow_null=True)
    locked = serializers.BooleanField(read_only=True)
    software_version = serializers.CharField(read_only=True, allow_null=True)
    confirmed_keys = serializers.IntegerField(read_only=True, allow_null=True)
    last_settlement = serializers.SerializerMethodField()

    class Meta(estate.TerminalSerializer.Meta):
        fields = [
            *estate.TerminalSerializer.Meta.fields,
            "online",
            "last_seen_at",
            "locked",
            "software_version",
            "confirmed_keys",
            "last_settlement",
        ]

    def to_representation(self, terminal: Terminal) -> dict[str, Any]:
        """What belongs to a part is null for who may not see the part where the terminal stands."""
        shown = super().to_representation(terminal)
        for name, part in (("software_version", "software"), ("confirmed_keys", "keys")):
            if not reach_of(self.context["request"].user, selectors.PARTS[part]).covers(terminal.path):
                shown[name] = None
        return shown

    @extend_schema_field(LastSettlementSerializer(allow_null=True))
    def get_last_settlement(self, terminal: Terminal) -> Any:
        run = getattr(terminal, "last_settlement", None)
        if not reach_of(self.context["request"].user, selectors.PARTS["money"]).covers(terminal.path):
            return None
        return run and run | {"reason": reasons_text(run["reasons"])}


class RegisteredSerializer(FleetTerminalSerializer):
    """A terminal just registered, with the code that enrols it. The code is shown once."""

    activation_code = serializers.CharField(read_only=True, allow_null=True)

    class Meta(FleetTerminalSerializer.Meta):
        fields = [*FleetTerminalSerializer.Meta.fields, "activation_code"]


class RegistrationSerializer(serializers.Serializer[Any]):
    """A terminal to register: model and store by their ids. What another has already is the service's to say."""

    serial = serializers.CharField(max_length=32)
    model = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    store = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    tid = serializers.CharField(max_length=8, required=False, allow_blank=True)
    mid = serializers.CharField(max_length=15, required=False, allow_blank=True)
    tags = serializers.ListField(child=serializers.CharField(max_length=40), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A member that nobody knows is refused: a typing error would be lost."""
        known = set(self.fields)
        if unknown := sorted(set(self.initial_data) - known):
            told = gettext("not known here; choose one of %(names)s") % {"names": ", ".join(sorted(known))}
            raise serializers.ValidationError({name: [told] for name in unknown})
        return attrs

    def validate_tid(self, value: str) -> str:
        with field_errors():
            return check_identifier(value)

    validate_mid = validate_tid


class ReplacementSerializer(serializers.Serializer[Any]):
    """The device that takes a terminal's place, and the money that it is agreed to lose."""

    serial = serializers.CharField(max_length=32)
    model = serializers.PrimaryKeyRelatedField(queryset=TerminalModel.objects.all(), required=False)
    write_off = serializers.DictField(
        child=serializers.IntegerField(),
        required=False,
        help_text="Minor units by currency, just what is not settled, as the refusal without it says",
    )


class ClaimSerializer(serializers.Serializer[Any]):
    """An activation code, and the serial of the device at hand. `in_place` lets another device than the one that was registered
    take its place, where that never enrolled."""

    code = serializers.CharField(max_length=60)
    serial = serializers.CharField(max_length=32)
    in_place = serializers.BooleanField(required=False, default=False)


class ActivationCodeSerializer(serializers.Serializer[Any]):
    activation_code = serializers.CharField(allow_null=True)


class TargetTokenSerializer(serializers.Serializer[Any]):
    """What a device that speaks hawkBit's DDI is set up with."""

    controller_id = serializers.CharField()
    target_token = serializers.CharField()


class RowsSerializer(serializers.Serializer[Any]):
    """Rows of `serial`, `model` and `store` (ids), and where wanted `tid`, `mid`, `tags`."""

    terminals = serializers.ListField(child=serializers.DictField(), allow_empty=False, max_length=MOST)


class RowAnswerSerializer(serializers.Serializer[Any]):
    """What became of a row: the terminal with its code, or why it was left out."""

    id = serializers.IntegerField(required=False)
    serial = serializers.CharField(required=False)
    activation_code = serializers.CharField(required=False, allow_null=True)
    reason = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)


class TerminalHealthSerializer(serializers.Serializer[Any]):
    """A terminal's latest reading, null before the first, and its last hundred."""

    current = HealthStateSerializer(allow_null=True)
    history = HealthSampleSerializer(many=True)
