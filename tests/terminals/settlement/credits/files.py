"""Credit files as banks and acquirers write them, made for tests."""

from collections.abc import Sequence
from typing import NamedTuple

IBAN = "DE89370400440532013000"


class Credit(NamedTuple):
    """One credit of a file; amounts are what stands in the file."""

    tid: str = "00000001"
    batch: int = 1
    amount: str = "10.00"
    fee: str = ""
    currency: str = "EUR"
    entry_id: str = ""
    value_date: str = "2026-11-26"
    text: str = ""
    status: str = "BOOK"
    indicator: str = "CRDT"


def camt(
    credits: Sequence[Credit], *, kind: str = "053", version: str = "08", iban: str = IBAN, said: int = -1
) -> bytes:
    """Return a camt file with these entries; `said` is how many it claims to hold."""
    root, part = {"052": ("BkToCstmrAcctRpt", "Rpt"), "053": ("BkToCstmrStmt", "Stmt")}.get(
        kind, ("BkToCstmrDbtCdtNtfctn", "Ntfctn")
    )
    total = f"<TxsSummry><TtlNtries><NbOfNtries>{said}</NbOfNtries></TtlNtries></TxsSummry>" if said >= 0 else ""
    entries = "".join(entry(one, version) for one in credits)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.{kind}.001.{version}"><{root}>'
        f"<GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-11-26T06:00:00Z</CreDtTm></GrpHdr>"
        f"<{part}><Id>S1</Id><CreDtTm>2026-11-26T06:00:00Z</CreDtTm><Acct><Id><IBAN>{iban}</IBAN></Id></Acct>"
        f"{total}{entries}</{part}></{root}></Document>"
    ).encode()


def entry(one: Credit, version: str = "08") -> str:
    """Return one entry of a camt file."""
    amount = f'<Amt Ccy="{one.currency}">{one.amount}</Amt><CdtDbtInd>{one.indicator}</CdtDbtInd>'
    status = f"<Sts><Cd>{one.status}</Cd></Sts>" if int(version) > 7 else f"<Sts>{one.status}</Sts>"
    record = f'<Amt Ccy="{one.currency}">{one.fee}</Amt><CdtDbtInd>DBIT</CdtDbtInd>'
    charges = (f"<Rcrd>{record}</Rcrd>" if int(version) > 3 else record) if one.fee else ""
    charges = f"<Chrgs>{charges}</Chrgs>" if charges else ""
    reference = f"<AcctSvcrRef>{one.entry_id}</AcctSvcrRef>" if one.entry_id else ""
    own = amount if int(version) > 2 else ""  # from version 03 on each transaction must have its own
    text = one.text or f"TID {one.tid} BATCH {one.batch:06d}"
    return (
        f"<Ntry>{amount}{status}<BookgDt><Dt>2026-11-25</Dt></BookgDt><ValDt><Dt>{one.value_date}</Dt></ValDt>{reference}"
        f"<BkTxCd><Prtry><Cd>X</Cd></Prtry></BkTxCd><NtryDtls><TxDtls><Refs><EndToEndId>E1</EndToEndId></Refs>{own}{charges}"
        f"<RmtInf><Ustrd>{text}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>"
    )


COLUMNS = {
    "tid": "Terminal",
    "batch": "Batch",
    "net": "Net",
    "fee": "Fee",
    "currency": "Currency",
    "value_date": "Value date",
    "method": "Card",
    "entry_id": "Id",
}


def csv_file(*rows: str, header: str = "Terminal,Batch,Net,Fee,Currency,Value date,Card,Id") -> bytes:
    return "\n".join([header, *rows, ""]).encode()
