"""The software vault: clear keys exist only inside these functions, and only for as long as they run.

At rest a key is AES-256-GCM under the master key (VAULT_MASTER_KEY_FILE), bound by its additional data to the row it
belongs to, so that a sealed key moved to another row does not open.
"""

import os
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

NONCE_BYTES = 12


class VaultError(Exception):
    """The vault cannot do it; the message never holds key material."""


@lru_cache(maxsize=1)
def _master(path: str) -> AESGCM:
    try:
        master_key = bytes.fromhex(Path(path).read_text().strip())
    except (OSError, ValueError):
        raise VaultError(f"{path} must hold the vault's master key: 32 bytes in hex") from None
    if len(master_key) != 32:
        raise VaultError(f"{path} must hold the vault's master key: 32 bytes in hex")
    return AESGCM(master_key)


def random_key(size_bytes: int) -> bytes:
    """Return a fresh key from the operating system's generator."""
    return os.urandom(size_bytes)


def seal(clear_key: bytes, *, bound_to: str) -> bytes:
    """Encrypt a key for its row (`bound_to` names it): nonce and ciphertext with tag."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _master(settings.VAULT_MASTER_KEY_FILE).encrypt(nonce, clear_key, bound_to.encode())


def unseal(sealed_key: bytes, *, bound_to: str) -> bytes:
    """Decrypt a sealed key; raise VaultError where it is damaged, of another row or under another master key."""
    nonce, ciphertext = bytes(sealed_key[:NONCE_BYTES]), bytes(sealed_key[NONCE_BYTES:])
    try:
        return _master(settings.VAULT_MASTER_KEY_FILE).decrypt(nonce, ciphertext, bound_to.encode())
    except InvalidTag:
        raise VaultError(f"the sealed key of {bound_to} does not open: damaged, or another master key") from None
