"""Filters of the API's lists. A reference is filtered by its id and looked up nowhere: a stranger's id finds nothing, like an
unknown one, and no list of choices is read for it."""

from typing import Any

import django_filters
from django import forms
from django.db.models import ForeignKey, OneToOneField
from django_filters.rest_framework import DjangoFilterBackend, FilterSet


class IdFilter(django_filters.NumberFilter):  # type: ignore[misc]
    field_class = forms.IntegerField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        for of_choices in ("queryset", "to_field_name", "null_label"):
            kwargs.pop(of_choices, None)
        super().__init__(*args, **kwargs | {"min_value": 1, "max_value": 2**63 - 1})

    def get_max_validator(self) -> None:
        """The field's own is stricter."""


class ByIdFilterSet(FilterSet):  # type: ignore[misc]
    FILTER_DEFAULTS = {
        **FilterSet.FILTER_DEFAULTS,
        ForeignKey: {"filter_class": IdFilter},
        OneToOneField: {"filter_class": IdFilter},
    }


class FilterBackend(DjangoFilterBackend):  # type: ignore[misc]
    filterset_base = ByIdFilterSet
