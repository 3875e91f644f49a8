"""Whom a terminal trusts, when that changes after its enrolment."""

from typing import Annotated

from msgspec import Meta, Struct

from terminals.link.protocol.messages.base import CommandType, Word

Pem = Annotated[str, Meta(max_length=4096)]


class UpdateTrust(Struct):
    """Replace the trust anchors of enrolment by these, all of them, and report `trust` in every hello from then on.

    Signed by a key that the terminal trusts already. From then on it takes commands by each of `command_signing_keys`.
    `release_root` is for a terminal that has none yet: one that has follows the repository from root to root, and takes none
    from here.
    """

    trust: Word
    device_ca: Annotated[str, Meta(max_length=16384, description="PEM, one or more CA certificates")]
    command_signing_keys: Annotated[list[Pem], Meta(min_length=1, max_length=4)]
    release_signing_keys: Annotated[list[Pem], Meta(min_length=1, max_length=4)]
    release_root: Annotated[
        str, Meta(max_length=32768, description="root document of the release repository (TUF)")
    ] = ""


_PEM = "-----BEGIN PUBLIC KEY-----..."
COMMANDS = (
    CommandType(
        "update_trust",
        UpdateTrust("3f1c0a9be24d7755", "-----BEGIN CERTIFICATE-----...", [_PEM, _PEM], [_PEM]),
    ),
)
