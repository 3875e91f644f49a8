"""What a filter may ask of imports."""

from typing import Any

from django.db.models import Exists, OuterRef, Q

from terminals.estate.targets.fields import NUMBER, Field, Kind
from terminals.importing.models import ImportRow
from terminals.importing.services import IMPORT


def _brought_by(operator: str, number: Any) -> Q:
    rows = ImportRow.objects.filter(job=number, terminal=OuterRef("pk"))
    return Q(Exists(rows.order_by()))


FIELDS = (
    Field(
        "import",
        Kind("number", ("=",), NUMBER.read, "5"),
        "named in an import, by its number",
        build=_brought_by,
        index="foreign key",
        needs=IMPORT,
    ),
)
