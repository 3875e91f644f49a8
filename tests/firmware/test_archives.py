"""What an uploaded release may be: traps for whoever unpacks it are refused, and so is what is plainly no software."""

import bz2
import gzip
import io
import lzma
import random
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from firmware import archives
from firmware.archives import bounds, zips
from firmware.models import Release
from terminals.common.errors import Refusal
from tests.releases import draft

PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + bytes(range(256)) * 40 + b"-----BEGIN PRIVATE KEY-----\0"


def refusal(content: bytes) -> str:
    """Return the reason for which a file is refused; empty where it passes."""
    file = io.BytesIO(content)
    try:
        archives.check(file)
    except Refusal as refused:
        return refused.reason if refused.detail else "without a word"
    assert file.tell() == 0
    return ""


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.filename, info.compress_type = name, method  # as it is told, backslashes and all
            archive.writestr(info, content)
    return out.getvalue()


def zipped_link(name: str, target: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, target)
        archive.writestr("bin/tool", b"x")
    return out.getvalue()


def entry(content: bytes) -> int:
    """Where the first entry of a zip file's directory begins."""
    return content.index(b"PK\x01\x02")


def patched(content: bytes, at: int, value: int, size: str = "<L") -> bytes:
    changed = bytearray(content)
    struct.pack_into(size, changed, at, value)
    return bytes(changed)


def tarred(*members: tuple[str, bytes, str], format: int = tarfile.PAX_FORMAT, **more: Any) -> bytes:
    """A tar file of (name, type, content or target of a link)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, kind, told in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.pax_headers = more.get("pax", {})
            if kind == tarfile.REGTYPE:
                info.size = len(told)
                archive.addfile(info, io.BytesIO(told.encode()))
            else:
                info.linkname = told
                archive.addfile(info)
    return out.getvalue()


FILE, LINK, HARD, CHAR, FIFO = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE


# --- what passes -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_file_passes(method: int) -> None:
    wheel = {"pay/__init__.py": b"x = 1\n" * 1000, "pay-1.0.dist-info/RECORD": b"", "res/a..b/ä.png": b"\x89PNG"}
    assert refusal(zipped(wheel, method)) == ""


def test_an_empty_zip_file_one_with_a_comment_and_one_whose_sizes_come_later_pass() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = b"signed by nobody"
    assert refusal(out.getvalue()) == ""

    class Unseekable(io.BytesIO):
        def seekable(self) -> bool:
            return False

    pipe = Unseekable()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a", "w", force_zip64=True) as one:
        one.write(b"abc" * 1000)
    assert refusal(pipe.getvalue()) == ""
    assert refusal(zipped_link("lib/tool", "../bin/tool")) == ""


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_file_passes(packed: str, format: int) -> None:
    deep = "usr/" + "lib/" * 20 + "ä.so"
    members = [
        ("./bin", tarfile.DIRTYPE, ""),
        ("./bin/tool", FILE, "x" * 2000),
        (deep, FILE, "y"),
        ("usr/bin", LINK, "../bin"),
        ("bin/again", HARD, "./bin/tool"),
    ]
    assert refusal(PACK[packed](tarred(*members, format=format))) == ""


@pytest.mark.parametrize("packed", PACK)
def test_what_nobody_knows_here_passes_packed_or_not(packed: str) -> None:
    for content in (ELF, b"VENDOR\x01" + bytes(5000), b'{"timeout": 30, "status": "on"}', b"x"):
        assert refusal(PACK[packed](content)) == ""


def test_a_vendors_signature_may_follow_a_compressed_file() -> None:
    assert refusal(gzip.compress(ELF) + b"SIGNATURE" * 20) == ""
    assert refusal(gzip.compress(ELF[:99]) + gzip.compress(ELF[99:])) == ""


# --- bombs -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that a test's bytes go beyond them."""
    monkeypatch.setattr(bounds, "MAX_EXPANDED_BYTES", 500_000)
    monkeypatch.setattr(bounds, "RATIO_FROM_BYTES", 100_000)
    monkeypatch.setattr(bounds, "MAX_MEMBERS", 20)


@pytest.mark.parametrize("packed", PACK)
def test_too_much_in_a_tar_file_is_refused(small_bounds: None, packed: str) -> None:
    many = tarred(*[(f"f{number}", FILE, "") for number in range(21)])
    assert refusal(PACK[packed](many)) == "archive_bomb"
    if packed != "plain":  # which is as large as what it holds
        assert refusal(PACK[packed](bytes(400_000))) == "archive_bomb", "by its ratio"
        assert refusal(PACK[packed](random.Random(1).randbytes(600_000))) == "archive_bomb", "by what it holds"


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_too_much_in_a_zip_file_is_refused(small_bounds: None, method: int) -> None:
    assert refusal(zipped({f"f{number}": b"" for number in range(21)}, method)) == "archive_bomb"
    assert refusal(zipped({"zeros": bytes(400_000)}, method)) == "archive_bomb"
    assert refusal(zipped({"a": bytes(90_000)}, method)) == "", "little is no bomb, however well it was packed"


def test_what_takes_long_to_look_into_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SLOW_BYTES", {"bzip2": 1000, "xz": 1000})
    content = random.Random(1).randbytes(1001)
    assert [refusal(pack(content)) for pack in PACK.values()] == ["", "", "archive_slow", "archive_slow", ""]
    assert refusal(zipped({"a": content[:600], "b": content[600:]}, zipfile.ZIP_BZIP2)) == "archive_slow"


def test_a_real_bomb_is_refused_by_what_comes_out_of_it() -> None:
    zeros = gzip.compress(bytes(100_000_000), 1)
    assert refusal(zeros) == "", "a hundred to one is an image of an empty disk"
    assert refusal(lzma.compress(bytes(100_000_000), preset=0)) == "archive_bomb"


@pytest.mark.parametrize("told", [10, 5_000_000])
def test_a_size_that_is_not_the_true_one_is_refused(told: int) -> None:
    content = zipped({"a": bytes(100_000)})
    assert refusal(patched(content, entry(content) + 24, told)) == "archive_broken"
    stored = zipped({"a": b"x" * 100}, zipfile.ZIP_STORED)
    assert refusal(patched(stored, entry(stored) + 24, told)) == "archive_broken"


def test_files_that_share_bytes_are_refused() -> None:
    content = zipped({"a": bytes(1000), "b": bytes(1000)})
    first = entry(content)
    second = content.index(b"PK\x01\x02", first + 1)
    assert refusal(patched(content, second + 42, 0)) == "archive_bomb"


def test_a_directory_of_any_length_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "MAX_DIRECTORY_BYTES", 100)
    assert refusal(zipped({f"a-long-name-{number}": b"" for number in range(3)})) == "archive_bomb"


# --- paths -----------------------------------------------------------------------------------------------------------
BAD_NAMES = ["/etc/passwd", "../up", "a/../../up", "C:/windows", "c:up", "a\\..\\up", "\\\\host\\share", "x" * 1025]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_out_is_refused(name: str) -> None:
    assert refusal(zipped({"good": b"", name: b"x"})) == "archive_path"
    for packed in PACK.values():
        assert refusal(packed(tarred(("good", FILE, ""), (name, FILE, "x")))) == "archive_path"
    assert refusal(tarred((name, FILE, "x"), format=tarfile.GNU_FORMAT)) == "archive_path"
    assert refusal(tarred(("good", HARD, name))) == "archive_path"


@pytest.mark.parametrize("target", ["/etc", "../..", "../../etc", "b/../../..", "C:/x", "..\\x"])
def test_a_link_that_leads_out_is_refused(target: str) -> None:
    assert refusal(zipped_link("lib/tool", target)) == "archive_path"
    assert refusal(tarred(("lib/tool", LINK, target))) == "archive_path"


def test_what_would_be_written_through_a_link_is_refused() -> None:
    assert refusal(tarred(("d/e", LINK, ".."), ("d/e/up", LINK, "../.."))) == "archive_path"
    assert refusal(tarred(("a", LINK, "b"), ("a/x", FILE, ""))) == "archive_path"


@pytest.mark.parametrize("kind", [CHAR, tarfile.BLKTYPE, FIFO])
def test_devices_and_pipes_are_refused(kind: bytes) -> None:
    assert refusal(tarred(("dev/null", kind, ""))) == "archive_path"


def test_a_sparse_file_is_refused_as_it_may_have_any_size() -> None:
    assert refusal(tarred(("disk", FILE, "x"), pax={"GNU.sparse.realsize": "9" * 15})) == "archive_path"


# --- damaged, encrypted ----------------------------------------------------------------------------------------------
def test_an_encrypted_member_is_refused() -> None:
    content = zipped({"a": b"secret"})
    assert refusal(patched(content, entry(content) + 8, 1, "<H")) == "archive_encrypted"


def test_a_damaged_zip_file_is_refused() -> None:
    content = zipped({"a": b"abc" * 1000, "b": b"x"})
    at = entry(content)
    assert refusal(content[:-30]) == "archive_broken", "cut"
    assert refusal(content[:4]) == "archive_broken"
    assert refusal(patched(content, at, 0)) == "archive_broken", "no entry"
    assert refusal(patched(content, at + 42, 5)) == "archive_broken", "elsewhere"
    assert refusal(patched(content, at + 42, 0xFFFFFFFF)) == "archive_broken", "nowhere"
    assert refusal(content.replace(b"\0a", b"\0A", 1)) == "archive_broken", "two names"
    assert refusal(patched(content, len(content) - 6, 10**9)) == "archive_broken", "the directory elsewhere"
    assert refusal(patched(content, 31, 0xFFFFFFFF)) == "archive_broken", "what it holds"


@pytest.mark.parametrize("packed", PACK)
def test_a_damaged_tar_file_is_refused(packed: str) -> None:
    content = tarred(("a", FILE, "x" * 3000), ("b", FILE, "y" * 3000))
    assert refusal(PACK[packed](content[:2000])) == "archive_broken"
    assert refusal(PACK[packed](patched(content, 3584 + 20, 7))) == "archive_broken", "a header's sum"
    if packed != "plain":
        assert refusal(PACK[packed](content)[:-12]) == "archive_broken"


def test_notes_of_a_tar_file_are_bounded() -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 10**9
    assert refusal(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)) == "archive_broken"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", pax_headers={"path": "x"}) as archive:
        archive.addfile(tarfile.TarInfo("a"))
    assert refusal(out.getvalue()) == "archive_broken", "one name for all"


def test_xz_that_wants_much_memory_is_refused() -> None:
    much = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**29}]
    assert refusal(lzma.compress(b"x", filters=much)) == "archive_broken"


# --- no software -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "not_software"),
        (b"\xef\xbb\xbf\n<HTML lang=en>", "not_software"),
        (b"<!-- proxy --> <html>", "not_software"),
        (b'{"type": "about:blank", "title": "Not found", "status": 404}', "not_software"),
        (b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>', "not_software"),
        (b"%PDF-1.7 ...", "not_software"),
        (b"\x89PNG\r\n\x1a\n...", "not_software"),
        (b"\xff\xd8\xff\xe0...", "not_software"),
        (b"GIF89a...", "not_software"),
        (b"-----BEGIN PRIVATE KEY-----\nMIG", "private_key"),
        (
            b"-----BEGIN EC PARAMETERS-----\nB\n-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----",
            "private_key",
        ),
        (b"-----BEGIN CERTIFICATE-----\nMIIB", ""),
        (b"<config><timeout>3</timeout></config>", ""),
        (b'{"status": 404', ""),
    ],
)
def test_what_is_plainly_no_software_is_refused(content: bytes, reason: str) -> None:
    assert refusal(content) == reason


# --- always ----------------------------------------------------------------------------------------------------------
MAGIC = [b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"{"]
WHOLE = [zipped({"a": b"abc" * 50, "b/c": b""}), tarred(("a", FILE, "x"), ("b" * 120, FILE, "y")), ELF]
WHOLE += [pack(WHOLE[1]) for pack in PACK.values()]


@given(st.sampled_from(MAGIC), st.binary(max_size=600))
def test_any_bytes_pass_or_are_refused(magic: bytes, rest: bytes) -> None:
    refusal(magic + rest)


@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 10**5), st.integers(0, 255)), max_size=6),
    st.integers(0, 400),
)
def test_any_damage_passes_or_is_refused(content: bytes, damage: list[tuple[int, int]], cut: int) -> None:
    changed = bytearray(content)
    for at, value in damage:
        changed[at % len(changed)] = value
    refusal(bytes(changed[: len(changed) - cut]))


def test_a_trap_is_not_stored(db: None) -> None:
    with pytest.raises(Refusal, match="leads out of the folder"):
        draft(content=zipped({"../up": b"x"}))
    assert not Release.objects.exists()
