"""A terminal's health in the API: what it is now, and the latest of its history."""

from rest_framework import serializers

from terminals.health.models import HealthSample, HealthState


class HealthSampleSerializer(serializers.ModelSerializer[HealthSample]):
    class Meta:
        model = HealthSample
        exclude = ["pk", "message_id", "terminal_id"]


class HealthStateSerializer(serializers.ModelSerializer[HealthState]):
    class Meta:
        model = HealthState
        exclude = ["message_id"]
