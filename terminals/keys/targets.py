"""What a filter may ask of terminals' keys."""

from django.db.models import Q

from terminals.estate.targets.fields import FLAG, WORD, Field, having
from terminals.keys.models import USAGES, TerminalKey
from terminals.keys.rules import KeyState

SEE = "keys.view_terminalkey"


def _holds(operator: str, usage: str) -> Q:
    return having(TerminalKey.objects.filter(state=KeyState.CONFIRMED), usage=usage)


def _in_trouble(operator: str, value: object) -> Q:
    return having(TerminalKey.objects.filter(state__in=(KeyState.MISMATCH, KeyState.FAILED)))


FIELDS = (
    Field("key", WORD, "holds a confirmed key", build=_holds, choices=tuple(usage for usage, _ in USAGES), needs=SEE),
    Field("key_trouble", FLAG, "a key does not match or failed", build=_in_trouble, needs=SEE, index="partial"),
)
