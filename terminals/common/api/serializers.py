"""Serializers whose references reach no further than the caller: what lies elsewhere in the tree does not exist for them."""

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any, TypeVar, cast

from django.db.models import Model, QuerySet
from rest_framework import serializers

from terminals.common.api.permissions import needed
from terminals.common.scope import within

M = TypeVar("M", bound=Model)


def reachable(rows: QuerySet[Any], context: Mapping[str, Any]) -> QuerySet[Any]:
    """Return the rows to which the caller may do what the operation in a serializer's context does."""
    request, view = context["request"], context["view"]
    return within(rows, request.user, needed(view, str(request.method), view.action))


class ReachableField(serializers.PrimaryKeyRelatedField[Any]):
    """A reference to another object, by id."""

    def get_queryset(self) -> QuerySet[Any]:
        rows = cast("QuerySet[Any]", super().get_queryset())
        return reachable(rows, self.context) | self._present(rows) if "view" in self.context else rows

    def _present(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """What an object refers to already may stay as it is, though it is out of the caller's reach."""
        instance = getattr(self.parent, "instance", None)
        present = getattr(instance, f"{self.source}_id", None) if isinstance(instance, Model) else None
        return rows.filter(pk=present) if present is not None else rows.none()


# What every serializer of a model is. Its fields are read off the model once; each request gets copies.
# (A docstring here would stand in the OpenAPI document as what each object is.)
class ModelSerializer(serializers.ModelSerializer[M]):
    serializer_related_field = ReachableField

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return deepcopy(_fields_of(type(self)))


@cache
def _fields_of(serializer: type[ModelSerializer[Any]]) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
    return serializers.ModelSerializer.get_fields(serializer())
