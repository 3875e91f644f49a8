"""Which terminals of a simulated fleet misbehave, and how: chosen by seed and serial, so that a run can be repeated."""

import random
from typing import NamedTuple

KINDS = (
    "wrong_totals",
    "rejected_install",
    "wrong_kcv",
    "silence",
    "lost_upload",
    "doubled_upload",
    "says_later",
    "slow_link",
    "cut_downloads",
)
# Written with a version: kills_printer@2.2.0
OF_RELEASES = ("kills_printer", "fails_install", "crashes", "reboots")
DEFAULT_SHARES = {
    "wrong_totals": 0.04,
    "silence": 0.06,
    "lost_upload": 0.06,
    "doubled_upload": 0.04,
    "kills_printer@2.2.0": 0.1,
}


class Faults(NamedTuple):
    """wrong_totals: settles more than it recorded; rejected_install: refuses releases; wrong_kcv: answers a false check
    value; silence: does not answer a command the first time it comes; lost_upload: uploads one of its payments only when
    it is asked for it; doubled_upload: uploads one of its payments twice; says_later: puts its next two installations off;
    slow_link: downloads 64 KiB a second; cut_downloads: loses every tenth piece of a download. `of_releases`: what a version does
    to it, as `kills_printer@2.2.0` (the printer does not work as long as it runs), `fails_install@2.2.0` (there is no room for
    it), `crashes@2.2.0` (it falls back to the version before when it restarts) and `reboots@2.2.0` (it restarts again and again).
    """

    wrong_totals: bool = False
    rejected_install: bool = False
    wrong_kcv: bool = False
    silence: bool = False
    lost_upload: bool = False
    doubled_upload: bool = False
    says_later: bool = False
    slow_link: bool = False
    cut_downloads: bool = False
    of_releases: frozenset[str] = frozenset()

    def has(self, kind: str, version: str) -> bool:
        """Whether a version does something to it."""
        return f"{kind}@{version}" in self.of_releases


def faults_of(serial: str, seed: int, shares: dict[str, float]) -> Faults:
    """Return the faults planted in one terminal, each with its share's probability."""
    dice = random.Random(f"{seed}/{serial}")
    rolled = {kind: dice.random() for kind in KINDS}
    by_release = {
        name
        for name, share in shares.items()
        if "@" in name and random.Random(f"{seed}/{serial}/{name}").random() < share
    }
    planted = {kind: rolled[kind] < shares.get(kind, 0.0) for kind in KINDS}
    return Faults(**planted, of_releases=frozenset(by_release))


def parse_shares(text: str) -> dict[str, float]:
    """Read `wrong_totals=0.1,kills_printer@2.2.0=0.05`; raise ValueError with what to write instead."""
    shares: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        kind, _, share = part.partition("=")
        name, at, version = kind.partition("@")
        known = name in OF_RELEASES and version if at else name in KINDS
        if not known or not 0 <= float(share or "nan") <= 1:
            raise ValueError(
                f"{part!r}: write kind=share with a share from 0 to 1 and a kind of {', '.join(KINDS)}, or with"
                f" a version, kind@2.2.0=share, of {', '.join(OF_RELEASES)}"
            )
        shares[kind] = float(share)
    return shares
