"""Payment software on its way to a terminal."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from terminals.common.patterns import whole
from terminals.link.protocol.messages.base import CommandType, Count, Instant, Percent, Word


class Conditions(Struct, omit_defaults=True):
    """What must hold before a terminal lets itself be changed; while one does not, it answers `failed` with the code `later`, and
    in `later_until` when to ask again. So it does while another installation is under way: that lock outlasts a restart, and
    ends with its command."""

    idle: bool = False  # no payment under way
    no_open_batch: bool = False
    settle_first: bool = False  # an open batch is settled by the terminal itself, before it begins
    charging: bool = False
    battery_percent: Percent = 0
    storage_mb: Count = 0
    networks: list[Literal["cellular", "wifi", "ethernet"]] = []


class Assignment(Struct, forbid_unknown_fields=True):
    """What one terminal shall run: the claims of `assignment`. A terminal takes none whose `counter` is below its last one's."""

    serial: Annotated[str, Meta(max_length=64)]
    platform: Word
    target: Annotated[str, Meta(max_length=200, description="path in the release repository")]
    size_bytes: Count
    sha256: Annotated[str, Meta(pattern=whole("[0-9a-f]{64}"))]
    counter: Annotated[int, Meta(ge=1, le=2**53)]


class Delta(Struct):
    """What makes the release of an earlier one that the terminal may still have: zstd with that file as its raw dictionary.

    It needs about as much memory as both files. The result is held against the release's own digest; a terminal that cannot use
    it fetches the whole.
    """

    url: Annotated[str, Meta(max_length=500)]
    size_bytes: Count
    sha256: Annotated[str, Meta(pattern=whole("[0-9a-f]{64}"))]
    from_sha256: Annotated[str, Meta(pattern=whole("[0-9a-f]{64}"), description="of the earlier release's file")]


class Install(Struct):
    """Download, verify and install a release.

    `assignment` is a compact JWS by a release signing key over the canonical JSON of {serial, platform, target, size_bytes,
    sha256, counter}. The terminal looks `target` up in the release repository (TUF; documents under `metadata_url`), holds the
    assignment against what that says, and fetches the file below `url`.
    `component` is the name under which `hello` must report the version. `conditions` must hold when it begins. Before
    `activate_at` it only downloads: the new version does not run earlier.
    """

    release_id: int
    package: Word
    version: Word
    url: Annotated[str, Meta(max_length=500)]
    size_bytes: Count
    sha256: Annotated[str, Meta(pattern=whole("[0-9a-f]{64}"))]
    metadata_url: Annotated[str, Meta(max_length=500)]
    assignment: Annotated[str, Meta(max_length=4096)]
    conditions: Conditions | None = None
    delta: Delta | None = None
    activate_at: Instant | None = None
    component: Word = "payment"


COMMANDS = (
    CommandType(
        "install",
        Install(
            release_id=12,
            package="tillwarden-pay",
            version="2.1.0",
            url="https://tms.example.com/artifacts/MTI6U04tMjA0MTc:1vVxyz:signature",
            size_bytes=196608,
            sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            metadata_url="https://tms.example.com/tuf/",
            assignment="<header>.<payload>.<signature>",
            conditions=Conditions(idle=True, no_open_batch=True, battery_percent=30),
            delta=Delta(
                url="https://tms.example.com/artifacts/ZDQ6U04tMjA0MTc:1vVxyz:signature",
                size_bytes=20480,
                sha256="60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
                from_sha256="fd61a03af4f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca13",
            ),
        ),
    ),
)
