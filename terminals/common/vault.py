"""The software vault: clear keys exist only inside these functions, and only for as long as they run.

At rest a key is AES-256-GCM under a master key, bound by its additional data to the row it belongs to, so that a sealed key
moved to another row does not open. VAULT_MASTER_KEY_FILE holds the master keys, one a line: the first seals, each of them
opens what it sealed. A sealed key is: version (1 byte), id of its master key (4), nonce (12), ciphertext with tag.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

VERSION = b"\x01"
ID_BYTES, NONCE_BYTES = 4, 12
HEAD = len(VERSION) + ID_BYTES


class VaultError(Exception):
    """The vault cannot do it; the message never holds key material."""


@lru_cache(maxsize=4)
def _masters(path: str, changed_at: int) -> dict[bytes, AESGCM]:
    """Return the master keys by id, the current one first; read again when the file changed, so that no restart is due."""
    try:
        keys = [bytes.fromhex(line) for line in Path(path).read_text().split()]
    except (OSError, ValueError):
        keys = []
    if not keys or any(len(key) != 32 for key in keys):
        raise VaultError(f"{path} must hold the vault's master keys, the current one first: 32 bytes in hex a line")
    return {hashlib.sha256(b"tillwarden/vault/" + key).digest()[:ID_BYTES]: AESGCM(key) for key in keys}


def _keyring() -> dict[bytes, AESGCM]:
    path = settings.VAULT_MASTER_KEY_FILE
    try:
        return _masters(path, os.stat(path).st_mtime_ns)
    except OSError as error:
        raise VaultError(f"{path} cannot be read: {error.strerror}") from None


def random_key(size_bytes: int) -> bytes:
    """Return a fresh key from the operating system's generator."""
    return os.urandom(size_bytes)


def seal(clear_key: bytes, *, bound_to: str) -> bytes:
    """Encrypt a key for its row (`bound_to` names it) under the current master key."""
    master_id, master = next(iter(_keyring().items()))
    head, nonce = VERSION + master_id, os.urandom(NONCE_BYTES)
    return head + nonce + master.encrypt(nonce, clear_key, head + bound_to.encode())


def unseal(sealed_key: bytes, *, bound_to: str) -> bytes:
    """Decrypt a sealed key; raise VaultError where it is damaged, of another row or under a master key that is gone."""
    head, nonce, ciphertext = sealed_key[:HEAD], sealed_key[HEAD : HEAD + NONCE_BYTES], sealed_key[HEAD + NONCE_BYTES :]
    master = _keyring().get(head[len(VERSION) :]) if head[: len(VERSION)] == VERSION else None
    if master is None:
        raise VaultError(f"the sealed key of {bound_to} does not open: its master key {head.hex()} is not in the vault")
    try:
        return master.decrypt(nonce, ciphertext, head + bound_to.encode())
    except InvalidTag:
        raise VaultError(f"the sealed key of {bound_to} does not open: it is damaged or of another row") from None


def current_head() -> bytes:
    """Return how every key sealed under the current master key begins."""
    return VERSION + next(iter(_keyring()))
