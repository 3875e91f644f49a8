"""A named transition applied to rows: a conditional update, so that two who move the same row cannot both succeed."""

from typing import Any

from django.db.models import QuerySet

from terminals.common.states import Machine


def move(rows: QuerySet[Any], machine: Machine[Any], name: str, **columns: Any) -> int:
    """Move every row of the set that may take the transition, and set further columns; return how many moved."""
    sources = [state.value for state in machine.sources(name)]
    return rows.filter(state__in=sources).update(state=machine.target(name).value, **columns)
