"""Credit files as an enemy or a broken disk would write them: readers answer with entries, rejects and refusals, nothing else.

`FUZZ_MUTATIONS=100000 python -m pytest tests/terminals/settlement/credits/test_fuzz.py` tries many more.
"""

import io
import os
import random
from collections.abc import Callable

import pytest

from terminals.common.errors import Refusal
from terminals.settlement.credits.formats import FORMATS
from terminals.settlement.credits.formats.read import Other, Reject
from terminals.settlement.credits.rules import Entry, checked
from terminals.settlement.models import BatchCredit, CreditEntry, CreditProfile
from tests.terminals.settlement.credits.conftest import brought, rows
from tests.terminals.settlement.credits.files import COLUMNS, Credit, camt

MUTATIONS = int(os.environ.get("FUZZ_MUTATIONS", "3000"))
SETTINGS = {
    "camt": checked("camt", {"reference": "TID {tid} BATCH {batch}"}),
    "csv": checked("csv", {"columns": COLUMNS, "methods": {"VISA": "card/visa"}}),
}
CREDITS = [Credit(fee="0.10", entry_id=f"R{n}", batch=n + 1) for n in range(3)]
GOOD = [
    *(
        ("camt", camt(CREDITS, kind=kind, version=v, said=3))
        for kind, v in (("053", "08"), ("053", "02"), ("054", "04"))
    ),
    ("csv", rows(*(f"0000000{n},{n},98.75,1.25,EUR,2026-11-26,visa,R{n}" for n in (1, 2, 3)))),
]
PLANTED = [
    b"<",
    b">",
    b"&x;",
    b"<!--",
    b"]]>",
    b"<Ntry>",
    b"</Ntry>",
    b"NaN",
    b"1e9",
    b"9" * 40,
    b"\0",
    b'"',
    b",",
    b"\n",
]
PLANTED += [b"4111111111111111", b"<![CDATA[", b"\xef\xbb\xbf", b'<!DOCTYPE a [<!ENTITY b "c">]>', b"-", b"\xff\xfe"]
KINDS: list[Callable[[random.Random, bytes, int], bytes]] = [
    lambda dice, data, at: data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :],
    lambda dice, data, at: data[:at] + data[at + dice.choice((1, 4, 30, 200)) :],
    lambda dice, data, at: data[:at] + dice.randbytes(dice.choice((1, 3, 20))) + data[at:],
    lambda dice, data, at: data[:at] + data[dice.randrange(len(data) or 1) :][:300] + data[at:],
    lambda dice, data, at: data[:at] + dice.choice(PLANTED) + data[at:],
    lambda dice, data, at: data[:at],
]


def mutated(dice: random.Random, data: bytes) -> bytes:
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        data = dice.choice(KINDS)(dice, data, dice.randrange(len(data) or 1))
    return data


def test_no_mutation_of_a_file_is_answered_by_anything_but_a_refusal_a_reject_or_an_entry() -> None:
    dice = random.Random(8)
    taken = 0
    for _ in range(MUTATIONS):
        form, data = dice.choice(GOOD)
        content = mutated(dice, data)
        try:
            for one in FORMATS[form](io.BytesIO(content), SETTINGS[form]):
                assert isinstance(one, Entry | Reject | Other), content
                taken += 1
        except Refusal:
            pass
    assert taken > MUTATIONS // 3, "most are read in part: the mutations go deep enough"


@pytest.mark.parametrize("seed", range(6))
def test_of_a_mutated_file_either_all_that_can_be_read_counts_or_nothing(profile: CreditProfile, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(10):
        job = brought(profile, mutated(dice, GOOD[0][1]) + b" " * dice.randrange(9))
        assert job.state in ("done", "failed")
        read = CreditEntry.objects.filter(file=job).count()
        assert read == (job.entry_count if job.state == "done" else 0)
        assert not job.chunks.exists()
        if job.state == "done":
            job.delete()
    assert BatchCredit.objects.count() == 0, "nobody has such a terminal"
