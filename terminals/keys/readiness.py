"""Whether a terminal holds the keys with which it settles. Reads only."""

from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar

from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _

from terminals.common.facts.kinds import Reason
from terminals.common.sql import id_set
from terminals.keys.models import KeyRequirement, TerminalKey
from terminals.keys.rules import KeyState


class KeyMissing(Reason, frozen=True):
    kind: ClassVar[str] = "keys.missing"
    usages: list[str]

    def text(self) -> str:
        return _("it lacks a key: %(usages)s") % {"usages": ", ".join(self.usages)}


def missing_keys(terminal_ids: Sequence[int]) -> dict[int, Reason]:
    """Return the terminals that lack a confirmed key which their model requires."""
    held = TerminalKey.objects.filter(
        terminal=OuterRef("model__terminals"), usage=OuterRef("usage"), state=KeyState.CONFIRMED
    )
    lacking = KeyRequirement.objects.filter(~Exists(held), model__terminals__in=id_set(terminal_ids))
    found: dict[int, list[str]] = defaultdict(list)
    for pk, usage in lacking.order_by("usage").values_list("model__terminals", "usage"):
        found[pk].append(usage)
    return {pk: KeyMissing(usages) for pk, usages in found.items()}
