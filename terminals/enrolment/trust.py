"""Whom terminals trust: the device CA and the keys that sign commands and releases, while one replaces another.

A terminal gets the anchors at enrolment and says in each hello which it holds. Where they are not the present ones it is sent
`update_trust`, signed by a key that it still trusts. `manage.py rotation status` tells how far that is.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import rfc8785
from django.conf import settings
from django.db.models import Count

from terminals.common.sql import id_set
from terminals.enrolment import authority
from terminals.enrolment.models import HeldTrust
from terminals.estate.models import Terminal
from terminals.estate.rules import COMMANDED_STATES, LINKED_STATES
from terminals.link.models import Command
from terminals.link.outcomes import supersede_commands
from terminals.link.protocol import signing
from terminals.link.protocol.messages.enrolment import UpdateTrust
from terminals.link.services import CommandRequest, Target, create_commands

UPDATE = "update_trust"
VALID_FOR = timedelta(days=7)


class ReleaseRoot:
    """The root document of the release repository, which its feature knows; filled by the project. Without one there is none."""

    def __init__(self) -> None:
        self.document: Callable[[], str] = lambda: ""


release_root = ReleaseRoot()
AGAIN_AFTER = timedelta(hours=1)  # a terminal that does not take it is not sent it at each hello


def anchors() -> UpdateTrust:
    """Return the present anchors; `trust` is the digest of the others, by which a terminal says that it holds them.

    Of the release repository only whether it has a root counts: a terminal that has one finds the later ones by itself.
    """
    command_keys = signing.trusted_keys(signing.command_signing_key(), settings.TRUSTED_COMMAND_KEYS_FILE)
    release_keys = signing.trusted_keys(signing.release_signing_key(), settings.TRUSTED_RELEASE_KEYS_FILE)
    device_ca = authority.ca_certificates_pem()
    root = release_root.document()
    broker_ca = _broker_ca(settings.MQTT_PUBLIC_CA_FILE)
    identified: dict[str, Any] = {
        "ca": device_ca,
        "command": sorted(command_keys),
        "release": sorted(release_keys),
        "root": bool(root),
    } | ({"broker": broker_ca} if broker_ca else {})
    digest = hashlib.sha256(rfc8785.dumps(identified)).hexdigest()[:16]
    return UpdateTrust(digest, device_ca, list(command_keys.values()), list(release_keys.values()), root, broker_ca)


@lru_cache(maxsize=2)
def _broker_ca(path: str) -> str:
    return Path(path).read_text() if path else ""  # once per process, like the other trust


def note_trust(held: Mapping[int, str], now: datetime) -> None:
    """Note which anchors terminals hold (terminal id -> digest) and send the present ones to those who lack them."""
    known = {row.pk: row for row in HeldTrust.objects.filter(pk__in=id_set(held))}
    present = anchors()
    due = [
        pk for pk in sorted(held) if held[pk] != present.trust and _may_be_offered(known.get(pk), present.trust, now)
    ]
    offered = _send(due, present) if due else set()
    rows = []
    for pk in sorted(held):
        row = known.get(pk) or HeldTrust(terminal_id=pk)
        if row.trust != held[pk] or pk in offered:
            row.trust = held[pk]
            if pk in offered:
                row.offered, row.offered_at = present.trust, now
            rows.append(row)
    fields = ["trust", "offered", "offered_at"]
    HeldTrust.objects.bulk_create(rows, update_conflicts=True, unique_fields=["terminal"], update_fields=fields)


def _may_be_offered(row: HeldTrust | None, trust: str, now: datetime) -> bool:
    lately = row is not None and row.offered_at is not None and row.offered_at > now - AGAIN_AFTER
    return not (lately and row is not None and row.offered == trust)


def _send(terminal_ids: list[int], present: UpdateTrust) -> set[int]:
    """Queue the present anchors for those in service; return whom."""
    due = Terminal.objects.filter(pk__in=id_set(terminal_ids), state__in=COMMANDED_STATES)
    targets = [Target(*names) for names in due.values_list("pk", "device_id")]
    if targets:
        supersede_commands([target.terminal_id for target in targets], [UPDATE])
        create_commands(
            [CommandRequest(target, UPDATE, present, VALID_FOR) for target in targets], requested_by="trust anchors"
        )
    return {target.terminal_id for target in targets}


def progress() -> tuple[int, int, int]:
    """Return how many terminals that may still come hold the present anchors, how many do not (or never said), and how
    many open commands are signed by another key than the present one."""
    serving = Terminal.objects.filter(state__in=LINKED_STATES)
    counts = serving.values("held_trust__trust").annotate(n=Count("pk")).values_list("held_trust__trust", "n")
    present = anchors().trust
    since = signing.command_signing_key().key_id
    stale = sum(
        signing.named_key(json.loads(bytes(payload)).get("sig")) != since
        for payload in Command.objects.filter(finished_at=None).values_list("payload", flat=True).iterator()
    )
    return sum(n for trust, n in counts if trust == present), sum(n for trust, n in counts if trust != present), stale
