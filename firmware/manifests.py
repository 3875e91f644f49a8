"""A release's signed manifest: what identifies it, under the release key's compact JWS.

The terminal holds the release key's public half since enrolment and refuses anything that this key did not sign,
so neither the broker nor the download server can slip software in.
"""

import hashlib
from typing import IO, Any

import jwt
import rfc8785

from terminals.link.protocol import signing

_jws = jwt.PyJWS(algorithms=["ES256", "ES384", "PS256"])
_CHUNK = 1024 * 1024


def digest_file(file: IO[bytes]) -> tuple[int, str]:
    """Return size in bytes and hex SHA-256 of an open file, and rewind it."""
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    file.seek(0)
    return size, digest.hexdigest()


def sign(*, package: str, version: str, platform: str, size_bytes: int, sha256: str) -> str:
    """Return the compact JWS that identifies a release."""
    body: dict[str, Any] = {
        "package": package,
        "version": version,
        "platform": platform,
        "size_bytes": size_bytes,
        "sha256": sha256,
    }
    key, key_id = signing.release_signing_key()
    headers = {"typ": "tillwarden-release", "kid": key_id}
    return _jws.encode(rfc8785.dumps(body), key, signing.algorithm_for(key), headers=headers)
