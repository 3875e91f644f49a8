"""A terminal's health in the API: what it is now, and the latest of its history."""

from terminals.common.api.serializers import ModelSerializer
from terminals.health.models import HealthSample, HealthState


class HealthSampleSerializer(ModelSerializer[HealthSample]):
    class Meta:
        model = HealthSample
        exclude = ["pk", "message_id", "terminal_id"]


class HealthStateSerializer(ModelSerializer[HealthState]):
    class Meta:
        model = HealthState
        exclude = ["message_id"]
