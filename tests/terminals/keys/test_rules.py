"""Key arithmetic against published vectors, and the policy that psec does not have."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from psec import tr31

from terminals.common.errors import Refusal
from terminals.keys.rules import accept_offer, aes_kcv, establish_with, unwrap, wrap

# TR-31:2018 A.7.4 (version D, AES-128 PIN key under AES-256)
KBPK = bytes.fromhex("88E1AB2A2E3DD38C1FA039A536500CC8A87AB9D62DC92C01058FA79F44657DE6")
BLOCK = (
    "D0112P0AE00E0000B82679114F470F540165EDFBF7E250FCEA43F810D215F8D207E2E417C07156A27E8E31DA05F7425509593D03A457DC34"
)
KEY = bytes.fromhex("3F419E1CB7079442AA37474C2EFBF8B8")


def test_the_standards_key_block_opens_to_its_key_and_check_value() -> None:
    assert tr31.unwrap(KBPK, BLOCK)[1] == KEY
    assert aes_kcv(KEY) == "08793E"


@pytest.mark.parametrize(("usage", "mode"), [("P0", "E"), ("D0", "B"), ("M6", "C")])
def test_a_block_is_version_d_bound_to_its_usage_and_not_exportable(usage: str, mode: str) -> None:
    block = wrap(kbpk=KBPK, working_key=KEY, usage=usage)
    assert (block[0], block[5:7], block[7], block[8], block[11]) == ("D", usage, "A", mode, "N")
    assert unwrap(kbpk=KBPK, key_block=block, usage=usage) == KEY


@pytest.mark.parametrize("usage", ["ZZ", "B0", "K0", "p0", ""])
def test_a_usage_outside_the_policy_is_refused(usage: str) -> None:
    with pytest.raises(Refusal, match="is not one of P0, D0, M6"):
        wrap(kbpk=KBPK, working_key=KEY, usage=usage)


def test_a_strong_key_does_not_travel_under_a_weaker_one() -> None:
    with pytest.raises(Refusal, match="256-bit key must not travel under a 128-bit one"):
        wrap(kbpk=KBPK[:16], working_key=KBPK, usage="D0")


def test_an_exportable_key_is_refused_though_its_binding_holds() -> None:
    with pytest.raises(Refusal, match="exportable"):
        unwrap(kbpk=KBPK, key_block=BLOCK, usage="P0")


@pytest.mark.parametrize("size", [0, 8, 15, 17, 31, 33])
def test_a_key_of_a_length_that_aes_does_not_have_is_refused(size: int) -> None:
    with pytest.raises(Refusal, match="is not an AES key"):
        wrap(kbpk=KBPK, working_key=bytes(size), usage="P0")
    with pytest.raises(Refusal, match="is not an AES key"):
        wrap(kbpk=bytes(size), working_key=b"", usage="P0")


def test_a_block_for_one_usage_does_not_open_as_another() -> None:
    with pytest.raises(Refusal, match="not to usage D0"):
        unwrap(kbpk=KBPK, key_block=wrap(kbpk=KBPK, working_key=KEY, usage="P0"), usage="D0")


def test_a_block_of_another_mode_is_refused_though_its_binding_holds() -> None:
    header = tr31.Header("D", "P0", "A", "N", "00", "N")
    with pytest.raises(Refusal, match="bound to"):
        unwrap(kbpk=KBPK, key_block=str(tr31.wrap(KBPK, header, KEY)), usage="P0")


@pytest.mark.parametrize("at", [1, 5, 11, 20, 60, 111])
def test_a_changed_character_closes_the_block(at: int) -> None:
    changed = BLOCK[:at] + ("1" if BLOCK[at] != "1" else "2") + BLOCK[at + 1 :]
    with pytest.raises(Refusal):
        unwrap(kbpk=KBPK, key_block=changed, usage="P0")


def test_another_terminals_protection_key_does_not_open_it() -> None:
    with pytest.raises(Refusal):
        unwrap(kbpk=bytes(32), key_block=BLOCK, usage="P0")


@pytest.mark.parametrize(
    "private_key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-384", "RSA"],
)
def test_server_and_terminal_agree_on_the_protection_key(
    private_key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> None:
    established = establish_with(private_key.public_key(), device_id="SN-1", random_key=bytes(range(32)))
    assert accept_offer(private_key, established.offer, device_id="SN-1") == established.kbpk
    assert established.kbpk.hex() not in str(established.offer)
    assert len(established.kbpk) == 32


def test_an_offer_for_another_terminal_is_not_accepted() -> None:
    private_key = ec.generate_private_key(ec.SECP256R1())
    established = establish_with(private_key.public_key(), device_id="SN-1", random_key=b"")
    with pytest.raises(Refusal, match="check value"):
        accept_offer(private_key, established.offer, device_id="SN-2")
