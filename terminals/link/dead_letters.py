"""Dead letters: what could not be taken, kept with its reason; the same bytes on the same topic only raise a count."""

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple

from django.db import connection

from terminals.common.card_data import has_card_data
from terminals.common.errors import Refusal
from terminals.link.mqtt import Incoming
from terminals.link.protocol.messages import CARD_DATA

# Of a payload: enough to see what it is; hostile ones are large, and keeping them is most of their cost.
KEPT_BYTES = 4096
CARD_DATA_TOPIC = "(not kept)"


class Letter(NamedTuple):
    """A refused message with its reason."""

    message: Incoming
    refusal: Refusal


# Raw: the ORM's upsert cannot add to a counter. One statement for any number of letters.
STORE = """
INSERT INTO link_deadletter AS d (digest, topic, reason, template, values, payload, payload_bytes, count)
SELECT digest, topic, reason, template, said::jsonb, payload, payload_bytes, count
  FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::int[], %s::int[])
    AS r(digest, topic, reason, template, said, payload, payload_bytes, count)
ON CONFLICT (digest) DO UPDATE
   SET count = d.count + excluded.count, last_at = now(), reason = excluded.reason, template = excluded.template,
       values = excluded.values
"""


def store_dead_letters(letters: Iterable[Letter]) -> None:
    """Keep letters, each different one once, in one statement."""
    rows: dict[str, list[object]] = {}
    for message, refusal in map(_without_card_data, letters):
        digest = hashlib.sha256(message.topic.encode() + b"\0" + message.payload).hexdigest()
        if digest in rows:
            rows[digest][-1] = int(str(rows[digest][-1])) + 1
            continue
        payload = message.payload[:KEPT_BYTES]
        said = json.dumps({name: _value(value) for name, value in refusal.values.items()})
        told = [refusal.reason, _text(refusal.template, 500), said]
        rows[digest] = [digest, _text(message.topic, 200), *told, payload, len(message.payload), 1]
    if rows:
        with connection.cursor() as cursor:
            # In one order, or two links could wait for each other's letters.
            cursor.execute(STORE, [list(column) for column in zip(*(rows[key] for key in sorted(rows)), strict=True)])


def _without_card_data(letter: Letter) -> Letter:
    """Keep nothing of a message that may hold a card number, whatever else was wrong with it."""
    message = letter.message
    if not has_card_data(message.topic.encode()) and not has_card_data(message.payload):
        return letter
    topic = CARD_DATA_TOPIC if has_card_data(message.topic.encode()) else message.topic
    return Letter(message._replace(topic=topic, payload=b""), CARD_DATA)


def _value(value: object) -> str | list[str]:
    return [str(one) for one in value] if isinstance(value, tuple) else _text(str(value), 500)


def _text(value: str, limit: int) -> str:
    """Return what PostgreSQL can keep of a text that came from anywhere."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:limit]
