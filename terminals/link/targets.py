"""What a filter may ask of terminals' sessions."""

from django.db.models import Q

from terminals.estate.targets.fields import AGE, FLAG, Field


def _online(operator: str, value: object) -> Q:
    return Q(session__online=True)


def _locked(operator: str, value: object) -> Q:
    return Q(session__locked=True)


FIELDS = (
    Field("online", FLAG, "heard lately", build=_online, index="primary key of sessions"),
    Field("locked", FLAG, "takes no payments until it is unlocked", build=_locked, index="primary key of sessions"),
    Field("last_seen", AGE, "time since it was heard", at="session__last_seen_at", index="primary key of sessions"),
)
