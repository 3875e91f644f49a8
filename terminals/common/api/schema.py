"""How an operation stands in the OpenAPI document."""

from typing import Any

from drf_spectacular.openapi import AutoSchema


class OperationSchema(AutoSchema):
    def get_filter_backends(self) -> list[Any]:
        """Only a list has filters, as in `ReadViewSet`."""
        return super().get_filter_backends() if getattr(self.view, "action", "") == "list" else []
