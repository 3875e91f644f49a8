"""A named transition applied to rows: a conditional update, so that two who move the same row cannot both succeed."""

from typing import Any

from django.db.models import QuerySet

from terminals.common.states import Transition


def move(rows: QuerySet[Any], transition: Transition[Any], **columns: Any) -> int:
    """Move every row of the set that may take the transition, and set further columns; return how many moved."""
    sources = [state.value for state in transition.sources]
    return rows.filter(state__in=sources).update(state=transition.target.value, **columns)
