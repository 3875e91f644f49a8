"""What a filter may ask of terminals' sessions."""

from django.db.models import Q
from django.utils import timezone

from terminals.estate.targets.fields import AGE, FLAG, LOOKUPS, NUMBER, Field
from terminals.link.sessions import RESTARTS_WITHIN, SHARED_LATELY


def _online(operator: str, value: object) -> Q:
    return Q(session__online=True)


def _locked(operator: str, value: object) -> Q:
    return Q(session__locked=True)


def _restarts(operator: str, number: int) -> Q:
    lately = Q(session__restarts_since__gt=timezone.now() - RESTARTS_WITHIN)
    return lately & Q(**{f"session__restarts{LOOKUPS[operator]}": number})


def _shared(operator: str, value: object) -> Q:
    return Q(session__shared_at__gt=timezone.now() - SHARED_LATELY)


FIELDS = (
    Field("online", FLAG, "heard lately", build=_online, index="primary key of sessions"),
    Field("locked", FLAG, "takes no payments until it is unlocked", build=_locked, index="primary key of sessions"),
    Field("restarts", NUMBER, "restarts within an hour", build=_restarts, index="primary key of sessions"),
    Field("shared_identity", FLAG, "two devices spoke as it within a day", build=_shared, index="session_shared"),
    Field("last_seen", AGE, "time since it was heard", at="session__last_seen_at", index="primary key of sessions"),
)
