"""The imagined acquirer and the merchants' bank: they credit what terminals settled, and write files about it.

Terminals with an odd TID are credited by the bank, whose camt files name each batch; those with an even one by the acquirer,
whose CSV tells cards and wallets apart and keeps its fee. In the first file of each some mistakes are planted. Pure but for its
memory; the wires are in `Courier`.
"""

import json
import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import httpx
import msgspec

from terminals.simulator.books import net_minor
from terminals.simulator.memory import Memory

logger = logging.getLogger(__name__)
BANK, ACQUIRER = "House bank (camt.053)", "Demonstration acquirer (CSV)"  # the profiles that describe their files
IBAN = "DE89370400440532013000"
FEE_BP = 120  # what the acquirer keeps, in basis points
HEADER = "Terminal;Batch;Method;Gross;Fee;Net;Currency;Value date;Id"


class Settled(msgspec.Struct):
    """What a terminal closed with its host, as the host counted it; amounts in minor units."""

    tid: str
    batch_number: int
    currency: str
    card_minor: int
    qr_minor: int

    @property
    def net_minor(self) -> int:
        return self.card_minor + self.qr_minor


class File(NamedTuple):
    """A file to be brought to the server, and the profile that describes it."""

    profile: str
    name: str
    content: bytes


def settled(memory: Memory, tid: str, batch_number: int) -> Settled:
    """Return what the host counted of a batch that was just closed."""
    records = memory.archive.get(str(batch_number), [])
    card = net_minor([record for record in records if record.method == "card"])
    return Settled(tid, batch_number, memory.currency, card, net_minor(records) - card)


def files_about(batches: Sequence[Settled], day: date, now: datetime, *, mistakes: bool) -> list[File]:
    """Return what bank and acquirer write about batches that were settled on a day."""
    due = [one for one in batches if one.net_minor]
    bank = [one for one in due if int(one.tid) % 2]
    acquirer = [one for one in due if not int(one.tid) % 2]
    stamp = f"{day:%Y%m%d}-{now:%H%M%S}"
    value_day = day + timedelta(days=1)
    files = []
    if bank:
        files.append(File(BANK, f"camt053-{stamp}.xml", _camt(bank, stamp, day, value_day, mistakes=mistakes)))
    if acquirer:
        files.append(File(ACQUIRER, f"credits-{stamp}.csv", _csv(acquirer, stamp, value_day, mistakes=mistakes)))
    return files


def _camt(batches: Sequence[Settled], stamp: str, day: date, value_day: date, *, mistakes: bool) -> bytes:
    told = [(one.tid, one.batch_number, one.net_minor, one.currency) for one in batches]
    if mistakes:  # one is short by 25.00, one is credited twice, one names a terminal that nobody has
        tid, number, minor, currency = told[0]
        told[0] = (tid, number, minor - 2500, currency)
        told += [told[-1], ("09999999", 1, 4200, currency)]
    entries = "".join(_entry(n, *one, stamp, day, value_day) for n, one in enumerate(told, start=1))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>'
        f"<GrpHdr><MsgId>STMT-{stamp}</MsgId><CreDtTm>{value_day}T06:00:00Z</CreDtTm></GrpHdr>"
        f"<Stmt><Id>{stamp}</Id><CreDtTm>{value_day}T06:00:00Z</CreDtTm><Acct><Id><IBAN>{IBAN}</IBAN></Id></Acct>"
        f"<TxsSummry><TtlNtries><NbOfNtries>{len(told)}</NbOfNtries></TtlNtries></TxsSummry>\n{entries}"
        "</Stmt></BkToCstmrStmt></Document>\n"
    ).encode()


def _entry(number: int, tid: str, batch: int, minor: int, currency: str, stamp: str, day: date, value_day: date) -> str:
    text = escape(f"CARD SETTLEMENT TID {tid} BATCH {batch:06d}")
    amount = (
        f'<Amt Ccy="{currency}">{abs(minor) / 100:.2f}</Amt><CdtDbtInd>{"CRDT" if minor > 0 else "DBIT"}</CdtDbtInd>'
    )
    return (
        f"<Ntry>{amount}<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{value_day}</Dt></ValDt>"
        f"<AcctSvcrRef>{stamp}-{number}</AcctSvcrRef><BkTxCd><Prtry><Cd>CARD</Cd></Prtry></BkTxCd><NtryDtls><TxDtls>"
        f"<Refs><EndToEndId>{stamp}-{number}</EndToEndId></Refs>{amount}<RmtInf><Ustrd>{text}</Ustrd></RmtInf>"
        "</TxDtls></NtryDtls></Ntry>\n"
    )


def _csv(batches: Sequence[Settled], stamp: str, value_day: date, *, mistakes: bool) -> bytes:
    lines = [HEADER]
    for one in batches:
        for method, settled_minor in (("CARD", one.card_minor), ("WALLET", one.qr_minor)):
            if not settled_minor:
                continue
            fee = abs(settled_minor) * FEE_BP // 10_000
            gross = settled_minor
            if mistakes and len(lines) == 1:  # the first of them credits 10.00 that were never settled
                gross += 1000
            lines.append(
                f"{one.tid};{one.batch_number};{method};{gross / 100:.2f};{fee / 100:.2f};{(gross - fee) / 100:.2f};"
                f"{one.currency};{value_day};{stamp}-{len(lines)}"
            )
    if mistakes:
        lines.append(f"{batches[-1].tid};x;CARD;1.00;0.00;1.00;EUR;{value_day};{stamp}-{len(lines)}")
    return "\n".join([*lines, ""]).encode()


class Courier:
    """Remembers what was settled until a file about it was brought to the server, through the operator's API."""

    def __init__(self, http: httpx.AsyncClient, token: str, folder: Path) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"}
        self._path = folder / "acquirer.json"
        self._folder = folder / "credits"
        known: dict[str, Any] = (
            json.loads(self._path.read_text()) if self._path.exists() else {"files": 0, "batches": []}
        )
        self._files: int = known["files"]
        self._batches = msgspec.convert(known["batches"], list[Settled])

    def note(self, batch: Settled) -> None:
        """Take what a terminal settled on record."""
        self._batches.append(batch)
        self._save()

    def _save(self) -> None:
        self._path.write_bytes(msgspec.json.encode({"files": self._files, "batches": self._batches}))

    async def bring(self) -> None:
        """Write files about what was settled since the last ones, and bring them; what cannot be brought is kept for later."""
        profiles = await self._profiles()
        if not profiles or not self._batches:
            return
        now = datetime.now(UTC)
        batches, first = list(self._batches), self._files == 0
        day = now.date() - timedelta(days=1) if first else now.date()
        files = files_about(batches, day, now, mistakes=first)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for file in files:
            (self._folder / file.name).write_bytes(file.content)
            if file.profile in profiles:
                said = {"profile": str(profiles[file.profile])}
                content = {"file": (file.name, file.content)}
                answer = await self._http.post(URL, data=said, files=content, headers=self._headers)
                logger.info("credit file %s: %s", file.name, answer.status_code)
        self._files += len(files)
        self._batches = self._batches[len(batches) :]
        self._save()

    async def _profiles(self) -> dict[str, int]:
        answer = await self._http.get("/api/v1/settlement/credit-profiles/", headers=self._headers)
        rows: list[dict[str, Any]] = answer.json()["results"] if answer.status_code == httpx.codes.OK else []
        return {row["name"]: row["id"] for row in rows}


URL = "/api/v1/settlement/credit-files/"
