"""What credit files tell: camt of all versions, CSV by profile; what cannot be read is rejected with its reason."""

import io
from datetime import date
from typing import Any

import pytest

from terminals.common.errors import Refusal
from terminals.settlement.credits.formats import camt as camt_format
from terminals.settlement.credits.formats import csv_rows
from terminals.settlement.credits.formats.read import Other, Reject
from terminals.settlement.credits.rules import Entry, amount_of, checked, named_in, pattern_of
from tests.terminals.settlement.credits.files import COLUMNS, Credit, camt, csv_file, entry

CAMT = checked("camt", {"reference": "TID {tid} BATCH {batch}"})
CSV = checked("csv", {"columns": COLUMNS, "methods": {"VISA": "card/visa", "Alipay": "qr/alipay"}})


def read_camt(content: bytes, settings: Any = CAMT) -> list[Any]:
    return list(camt_format.read(io.BytesIO(content), settings))


def read_csv(content: bytes, settings: Any = CSV) -> list[Any]:
    return list(csv_rows.read(io.BytesIO(content), settings))


@pytest.mark.parametrize("kind", ["052", "053", "054"])
@pytest.mark.parametrize("version", ["02", "04", "08", "12"])
def test_an_entry_tells_terminal_batch_amount_fee_and_day_in_every_version(kind: str, version: str) -> None:
    credit = Credit("ab12", 7, "98.75", "1.25", entry_id="R1")
    (one,) = read_camt(camt([credit], kind=kind, version=version, said=1))
    assert one == Entry(
        1,
        "AB12",
        7,
        "EUR",
        9875,
        125,
        date(2026, 11, 26),
        account="DE89370400440532013000",
        entry_id="R1",
        reference="TID ab12 BATCH 000007",
    )
    assert one.gross_minor == 10000


def test_debits_count_against_and_what_is_not_booked_or_about_something_else_does_not_count() -> None:
    credits = [
        Credit(indicator="DBIT"),
        Credit(status="PDNG"),
        Credit(text="Rent of November"),
        Credit(currency="JPY", amount="500"),
    ]
    taken, pending, rent, yen = read_camt(camt(credits))
    assert (taken.net_minor, yen.net_minor) == (-1000, 500)
    assert isinstance(pending, Other)
    assert isinstance(rent, Other)


def test_a_structured_reference_is_read_like_a_text() -> None:
    whole = camt([Credit()]).decode()
    structured = "<Strd><CdtrRefInf><Ref>TID 7 BATCH 8</Ref></CdtrRefInf></Strd>"
    (one,) = read_camt(whole.replace("<Ustrd>TID 00000001 BATCH 000001</Ustrd>", structured).encode())
    assert (one.tid, one.batch_number) == ("7", 8)


def test_transactions_that_were_booked_in_one_sum_are_told_one_by_one() -> None:
    parts = "".join(
        f'<TxDtls><Refs><EndToEndId>E{n}</EndToEndId></Refs><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
        f"<RmtInf><Ustrd>TID 0000000{n} BATCH {n}</Ustrd></RmtInf></TxDtls>"
        for n, amount in ((1, "4.00"), (2, "6.00"))
    )
    whole = entry(Credit(amount="10.00", entry_id="R9"))
    start, end = whole.index("<TxDtls>"), whole.index("</NtryDtls>")
    content = camt([Credit()]).decode().replace(entry(Credit()), whole[:start] + parts + whole[end:])
    first, second = read_camt(content.encode())
    assert [(one.tid, one.batch_number, one.net_minor, one.entry_id) for one in (first, second)] == [
        ("00000001", 1, 400, "R9/1"),
        ("00000002", 2, 600, "R9/2"),
    ]
    (differs,) = read_camt(content.replace("6.00", "7.00").encode())
    assert differs.refusal.reason == "details_differ"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text[: len(text) // 2], "bad_xml"),
        (lambda text: text.replace("camt.053.001.08", "pain.001.001.03"), "unknown_format"),
        (lambda text: text.replace("camt.053.001.08", "camt.053.001.99"), "unknown_format"),
        (lambda text: text.replace("<NbOfNtries>2<", "<NbOfNtries>3<"), "incomplete"),
        (lambda text: text.replace("?>", '?><!DOCTYPE Document [<!ENTITY a "b">]>', 1), "unknown_format"),
        (lambda text: "Terminal,Batch\n1,2\n", "bad_xml"),
        (lambda text: "<html/>", "unknown_format"),
    ],
)
def test_a_file_that_cannot_be_believed_is_refused_as_a_whole(change: Any, reason: str) -> None:
    content = camt([Credit(), Credit(batch=2)], said=2).decode()
    with pytest.raises(Refusal) as refused:
        read_camt(change(content).encode())
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("credit", "reason"),
    [
        (Credit(amount="10.001"), "bad_amount"),
        (Credit(amount="ten"), "bad_entry"),
        (Credit(currency="XXX"), "bad_amount"),
        (Credit(value_date="2026-13-45"), "bad_entry"),
        (Credit(amount="99999999999999999"), "bad_amount"),
        (Credit(entry_id="4111111111111111"), "card_data"),
    ],
)
def test_an_entry_that_cannot_be_read_is_rejected_and_its_neighbours_are_not(credit: Credit, reason: str) -> None:
    good, bad, also_good = read_camt(camt([Credit(), credit, Credit(batch=2)]))
    assert isinstance(good, Entry)
    assert isinstance(also_good, Entry)
    assert isinstance(bad, Reject)
    assert bad.refusal.reason == reason


def test_a_csv_row_tells_the_same_with_its_method() -> None:
    first, second = read_csv(csv_file("00000001,7,98.75,1.25,EUR,2026-11-26,visa,R1", "00000002,8,5.00,,EUR,,,"))
    assert first == Entry(
        2, "00000001", 7, "EUR", 9875, 125, date(2026, 11, 26), method="card", scheme="visa", entry_id="R1"
    )
    assert (second.net_minor, second.fee_minor, second.method, second.value_date) == (500, 0, "", None)


def test_a_profile_says_how_amounts_days_and_columns_are_written() -> None:
    said = {
        "columns": {
            "reference": "Verwendung",
            "gross": "Brutto",
            "fee": "Entgelt",
            "value_date": "Wert",
            "account": "Konto",
        },
        "reference": "Terminal {tid} Abschluss {batch}",
        "delimiter": "semicolon",
        "decimal_mark": "comma",
        "date_format": "DD.MM.YYYY",
        "encoding": "cp1252",
        "currency": "EUR",
    }
    row = "DE89 3704;26.11.2026;1.234,50;-4,50;Terminal 00000009 Abschluss 12;Köln"
    content = f"Konto;Wert;Brutto;Entgelt;Verwendung;Ort\n{row}\n"
    (one,) = read_csv(content.encode("cp1252"), checked("csv", said))
    assert (one.tid, one.batch_number, one.net_minor, one.fee_minor, one.account) == (
        "00000009",
        12,
        123000,
        450,
        "DE893704",
    )
    assert one.value_date == date(2026, 11, 26)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("00000001,7,1.5e3,,EUR,,,", "bad_amount"),
        ("00000001,7,,,EUR,,,", "bad_amount"),
        ("00000001,7,1.00,,EUR,26.11.2026,,", "bad_date"),
        ("00000001,7,1.00,,EUR,,Diners,", "unknown_method"),
        ("00000001,x,1.00,,EUR,,,", "bad_batch"),
        ("000000012345,7,1.00,,EUR,,,", "bad_tid"),
        ("00000001,7,1.00,,EUR", "bad_row"),
        ("00000001,7,1.00,,EUR,,,4111 1111 1111 1111", "card_data"),
    ],
)
def test_a_csv_row_that_cannot_be_read_is_rejected(row: str, reason: str) -> None:
    bad, good = read_csv(csv_file(row, "00000002,8,5.00,,EUR,,,"))
    assert bad.refusal.reason == reason
    assert isinstance(good, Entry)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"Terminal,Batch\n1,2\n", "bad_header"),
        (csv_file("00000001,7,1.00,,EUR,,,").replace(b"EUR", b"\xff"), "bad_encoding"),
        (csv_file('00000001,7,"1.00'), "bad_csv"),
        (csv_file("00000001,7,\0,,EUR,,,"), "bad_csv"),
        (b"x" * 200_000, "bad_csv"),
        (camt([Credit()]), "bad_header"),
    ],
)
def test_a_file_that_is_no_csv_of_its_profile_is_refused_as_a_whole(content: bytes, reason: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_csv(content)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("file_format", "said", "told"),
    [
        ("camt", {}, "TID {tid} BATCH {batch}"),
        ("camt", {"reference": "TID {tid}"}, "names {tid} and {batch} once"),
        ("camt", {"reference": "{tid}{batch}"}, "something between"),
        ("camt", {"reference": "{tid} {batch} {iban}"}, "{iban} is none"),
        ("csv", {"columns": {"tid": "T", "batch": "B"}, "currency": "EUR"}, "net or of the gross"),
        ("csv", {"columns": {"net": "N"}, "currency": "EUR"}, "TID and batch"),
        ("csv", {"columns": {"tid": "T", "batch": "B", "net": "N"}}, "the currency"),
        ("csv", {"columns": {"colour": "C"}}, "none of the columns"),
        ("csv", {"speed": 1}, "'speed' is none of"),
        ("csv", {"fee_most_bp": 5000}, "from 0 to 2000"),
        ("csv", {"methods": {"V": "cash"}}, "no method"),
    ],
)
def test_a_profile_by_which_nothing_could_be_read_is_refused(file_format: str, said: Any, told: str) -> None:
    with pytest.raises(Refusal, match=told.replace("{", "\\{").replace("}", "\\}")):
        checked(file_format, said)


def test_a_reference_is_found_whatever_its_blanks_and_letters_and_costs_no_more_than_its_length() -> None:
    assert named_in("x tid  00000001\nBatch000012 y", "TID {tid} BATCH {batch}") is not None
    assert named_in("x TID 000000012 BATCH 000012 y", "TID {tid} BATCH {batch}") is None
    found = named_in("T1-B2-M0007", "T{tid}-B{batch}-M{mid}")
    assert found is not None
    assert (found.tid, found.batch_number, found.mid) == ("1", 2, "0007")
    assert pattern_of("TID {tid} BATCH {batch}").search("TID " * 2000 + " " * 3000) is None


@pytest.mark.parametrize(
    ("text", "mark", "minor", "amount"),
    [
        ("1,234.50", ".", False, 123450),
        ("1.234,50-", ",", False, -123450),
        ("-5", ".", False, -500),
        ("1 234", ",", False, 123400),
        ("12345", ".", True, 12345),
    ],
)
def test_amounts_are_read_as_files_write_them(text: str, mark: str, minor: bool, amount: int) -> None:
    assert amount_of(text, "EUR", mark=mark, minor=minor) == amount


@pytest.mark.parametrize("text", ["", "1,50", "--5", "-5-", "1.234.50", "0x10", "NaN", "1e5", "1.005", "9" * 19])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        amount_of(text, "EUR")
