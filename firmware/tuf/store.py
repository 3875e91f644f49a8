"""The repository's documents in the database, on python-tuf's abstract repository: it says what follows what, we store."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any

from django.db import connection
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, Targets, Timestamp
from tuf.repository import Repository

from firmware.models import RepositoryDocument
from firmware.tuf import documents
from firmware.tuf.documents import PLATFORM_PREFIX, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, life_of
from terminals.common.errors import Refusal

MOST_BYTES = 4_900_000  # the reference client reads 5,000,000


class Store(Repository):
    """The latest version of each document; what it stores, it signs with the server's own keys (role -> signer).

    Opened inside a transaction, it holds a lock until that ends: two never make one version.
    """

    def __init__(self, *, now: datetime, signers: Mapping[str, CryptoSigner]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('release repository', 0))")
        self._now, self._signers = now, signers
        self._versions = latest_versions()
        self._opened: dict[str, Metadata[Any]] = {}

    def version_of(self, role: str) -> int:
        """Return the present version of a document; 0 before its first."""
        return self._versions.get(role, 0)

    def open(self, role: str) -> Metadata[Any]:
        """Return a copy of the present document, or an empty one of version 0."""
        if role not in self._opened:
            if role in self._versions:
                row = RepositoryDocument.objects.get(role=role, version=self._versions[role])
                self._opened[role] = Metadata.from_bytes(row.content.encode())
            else:
                self._opened[role] = Metadata(_empty(role))
        return deepcopy(self._opened[role])

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Store the next version, signed by the server; raise Refusal for a key that root does not name.

        A version is the time in seconds where that is more than the next number: after the database was restored from a backup
        it is still above what terminals saw.
        """
        md.signed.version = max(md.signed.version + 1, int(self._now.timestamp()))
        md.signed.expires = (self._now + life_of(role)).replace(microsecond=0)
        md.signatures.clear()
        signer = self._signers[role if role in (SNAPSHOT, TIMESTAMP) else PLATFORM_PREFIX]
        if role in (SNAPSHOT, TIMESTAMP) and signer.public_key.keyid not in self.root().roles[role].keyids:
            raise Refusal(
                "foreign_online_key", "the root document names another online key than TUF_ONLINE_KEY_FILE holds"
            )
        md.sign(signer)
        self.keep(role, md)

    def keep(self, role: str, md: Metadata[Any]) -> None:
        """Store a document as it is, with the signatures that it bears."""
        content = md.to_bytes(documents.SERIALIZER).decode()
        if len(content) > MOST_BYTES:
            raise Refusal(
                "list_too_long", "%(role)s would be longer than terminals read; withdraw old releases", role=role
            )
        RepositoryDocument.objects.create(
            role=role,
            version=md.signed.version,
            content=content,
            expires_at=md.signed.expires,
        )
        self._versions[role], self._opened[role] = md.signed.version, md

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        """The versions that a snapshot names: of the top targets document and of every platform that it delegates."""
        delegated = {documents.role_of(platform) for platform in documents.delegations(self.targets())}
        roles = [TARGETS, *sorted(delegated & self._versions.keys())]
        return {f"{role}.json": MetaFile(self._versions[role]) for role in roles}

    @property
    def snapshot_info(self) -> MetaFile:
        return MetaFile(self._versions[SNAPSHOT])


def latest_versions() -> dict[str, int]:
    """Return role -> the latest version of its document."""
    rows = RepositoryDocument.objects.order_by("role", "-version").distinct("role")
    return dict(rows.values_list("role", "version"))


def _empty(role: str) -> Signed:
    kinds: dict[str, Callable[[], Signed]] = {ROOT: Root, SNAPSHOT: Snapshot, TIMESTAMP: Timestamp}
    document = kinds.get(role, Targets)()
    document.version = 0  # it gets its first when it is stored
    return document
