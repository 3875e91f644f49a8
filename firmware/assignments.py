"""What one terminal shall run, signed by the release key (Uptane's director).

The repository says what is authentic; this says what is meant for whom.
The counter keeps an earlier assignment from being played again.
"""

import msgspec
import rfc8785
from jwt import PyJWS

from terminals.link.protocol import signing
from terminals.link.protocol.messages.software import Assignment

_jws = PyJWS(algorithms=["ES256", "ES384", "PS256"])


def sign(assignment: Assignment) -> str:
    """Return an assignment as compact JWS."""
    key, key_id = signing.release_signing_key()
    headers = {"typ": "tillwarden-assignment", "kid": key_id}
    return _jws.encode(rfc8785.dumps(msgspec.to_builtins(assignment)), key, signing.algorithm_for(key), headers=headers)
