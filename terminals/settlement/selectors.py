"""What settlement knows of terminals' money. Reads only."""

from django.utils.translation import ngettext

from terminals.common.words import format_minor
from terminals.settlement.models import Batch


def open_batches(terminal_id: int, limit: int | None = 10) -> list[Batch]:
    """Return the terminal's batches that hold money which nobody has settled, the newest first."""
    return list(
        Batch.objects.filter(terminal=terminal_id, closed=False, transaction_count__gt=0).order_by("-opened_at")[:limit]
    )


def at_stake(batches: list[Batch]) -> str:
    """Return for example `47.57 EUR in 4 transactions`; empty where nothing is."""
    return ", ".join(
        ngettext("%(amount)s in %(count)s transaction", "%(amount)s in %(count)s transactions", batch.transaction_count)
        % {"amount": format_minor(batch.net_minor, batch.currency), "count": batch.transaction_count}
        for batch in batches
    )
