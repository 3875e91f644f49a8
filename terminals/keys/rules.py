"""Key policy and key arithmetic, pure: key check values, TR-31 version D blocks, agreement on a protection key.

psec builds and opens any block it is asked to; what may be built is decided here. Sources: ANSI X9.143 / TR-31:2018
(header, binding), NIST SP 800-38B (CMAC), RFC 5869 (HKDF), NIST SP 800-56A (ECDH).
"""

import os
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from psec import tr31

from terminals.common.errors import Refusal
from terminals.common.states import Machine, Transition

AGREEMENT_CONTEXT = b"tillwarden/v1/kbpk/"
KBPK_BYTES = 32
AES_BYTES = (16, 24, 32)
# usage -> (mode of use, what it is for); a key has one purpose
POLICY = {"P0": ("E", "PIN encryption"), "D0": ("B", "data encryption"), "M6": ("C", "CMAC")}


class KeyState(StrEnum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    MISMATCH = "mismatch"
    FAILED = "failed"
    EXPIRED = "expired"
    REPLACED = "replaced"
    DESTROYED = "destroyed"


_K = KeyState


class KeyTransition(Machine):
    confirm = Transition((_K.PENDING,), _K.CONFIRMED)
    mismatch = Transition((_K.PENDING,), _K.MISMATCH)
    fail = Transition((_K.PENDING,), _K.FAILED)
    expire = Transition((_K.PENDING,), _K.EXPIRED)
    # All that a terminal had count no longer when it enrols anew, also what somebody should have looked at.
    replace = Transition((_K.PENDING, _K.CONFIRMED, _K.MISMATCH, _K.FAILED), _K.REPLACED)
    destroy = Transition(tuple(state for state in KeyState if state is not _K.DESTROYED), _K.DESTROYED)


# A terminal that has one of these is not given another by itself: it has or awaits it, or somebody must look.
HELD = (_K.PENDING, _K.CONFIRMED, _K.MISMATCH, _K.FAILED)


def outcome_of_delivery(*, expired: bool, succeeded: bool, kcv_fits: bool) -> Transition[KeyState]:
    """Return the transition that a delivery's end is: a key counts only if the terminal computed its KCV."""
    if expired:
        return KeyTransition.expire
    if not succeeded:
        return KeyTransition.fail
    return KeyTransition.confirm if kcv_fits else KeyTransition.mismatch


@dataclass(frozen=True)
class Established:
    """A protection key, which no `repr` shows, and what the terminal needs to derive or unwrap the same."""

    kbpk: bytes = field(repr=False)
    offer: dict[str, str]


def aes_kcv(key: bytes) -> str:
    """Return the 3-byte AES key check value in hex: CMAC over sixteen zero bytes (X9.24-1 annex A)."""
    mac = CMAC(AES(key))
    mac.update(bytes(16))
    return mac.finalize()[:3].hex().upper()


def check_usage(usage: str) -> None:
    """Raise Refusal for a usage outside POLICY."""
    if usage not in POLICY:
        raise Refusal(
            "key_policy", "key usage %(usage)s is not one of %(policy)s", usage=repr(usage), policy=", ".join(POLICY)
        )


def wrap(*, kbpk: bytes, working_key: bytes, usage: str) -> str:
    """Return a TR-31 version D block: AES, not exportable, bound to its usage.

    Raises Refusal for a usage outside POLICY and for a protecting key weaker than the protected one.
    """
    _refuse_lengths(kbpk, working_key)
    check_usage(usage)
    if len(kbpk) < len(working_key):
        raise Refusal(
            "key_policy",
            "a %(working_key)s-bit key must not travel under a %(kbpk)s-bit one",
            working_key=len(working_key) * 8,
            kbpk=len(kbpk) * 8,
        )
    header = tr31.Header(
        version_id="D",
        key_usage=usage,
        algorithm="A",
        mode_of_use=POLICY[usage][0],
        version_num="00",
        exportability="N",
    )
    return str(tr31.wrap(kbpk, header, working_key))


def _refuse_lengths(kbpk: bytes, working_key: bytes) -> None:
    """AES keys of 128, 192 or 256 bits, under an AES key (TR-31 version D, X9.143)."""
    for name, key in (("protection", kbpk), ("working", working_key)):
        if len(key) not in AES_BYTES:
            raise Refusal("key_policy", "a %(name)s key of %(key)s bytes is not an AES key", name=name, key=len(key))


def unwrap(*, kbpk: bytes, key_block: str, usage: str) -> bytes:
    """Open a block as a terminal does; raise Refusal unless it is intact, for this key, and for this usage."""
    try:
        header, working_key = tr31.unwrap(kbpk, key_block)
    except (tr31.HeaderError, tr31.KeyBlockError, ValueError) as error:
        raise Refusal("bad_key_block", "the key block cannot be opened: %(error)s", error=error) from None
    _refuse_lengths(kbpk, working_key)
    if (header.version_num, header.exportability) != ("00", "N"):
        raise Refusal(
            "bad_key_block", "the key block holds a key version or an exportable key, which the policy does not know"
        )
    bound = (header.version_id, header.key_usage, header.algorithm, header.mode_of_use)
    if usage not in POLICY or bound != ("D", usage, "A", POLICY[usage][0]):
        raise Refusal(
            "bad_key_block", "the key block is bound to %(bound)s, not to usage %(usage)s", bound=bound, usage=usage
        )
    return bytes(working_key)


def establish_with(
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, *, device_id: str, random_key: bytes
) -> Established:
    """Agree on a KBPK with the holder of a public key.

    EC: an ephemeral ECDH key, HKDF-SHA256 over the shared secret, bound to the device id and both public keys. RSA:
    `random_key` (32 bytes) under OAEP-SHA256, whose label binds device id and public key. The offer holds no secret.
    """
    if isinstance(public_key, rsa.RSAPublicKey):
        wrapped = public_key.encrypt(random_key, _oaep(_context(device_id, public_key)))
        return Established(
            random_key, {"method": "RSA-OAEP-256", "wrapped_key": wrapped.hex(), "kcv": aes_kcv(random_key)}
        )
    ephemeral = ec.generate_private_key(public_key.curve)
    context = _context(device_id, public_key, ephemeral.public_key())
    kbpk = _derive(ephemeral.exchange(ec.ECDH(), public_key), context)
    point = ephemeral.public_key().public_numbers()
    size = (public_key.curve.key_size + 7) // 8
    encoded = b"\x04" + point.x.to_bytes(size, "big") + point.y.to_bytes(size, "big")
    return Established(kbpk, {"method": "ECDH-ES+HKDF-256", "ephemeral_point": encoded.hex(), "kcv": aes_kcv(kbpk)})


def accept_offer(
    private_key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, offer: dict[str, str], *, device_id: str
) -> bytes:
    """The terminal's side of `establish_with`; raise Refusal where the offer is not for this device and this key."""
    if isinstance(private_key, rsa.RSAPrivateKey):
        context = _context(device_id, private_key.public_key())
        try:
            kbpk = private_key.decrypt(bytes.fromhex(offer["wrapped_key"]), _oaep(context))
        except ValueError:
            raise Refusal("bad_offer", "the protection key was not wrapped for this terminal") from None
    else:
        point = ec.EllipticCurvePublicKey.from_encoded_point(private_key.curve, bytes.fromhex(offer["ephemeral_point"]))
        context = _context(device_id, private_key.public_key(), point)
        kbpk = _derive(private_key.exchange(ec.ECDH(), point), context)
    if aes_kcv(kbpk) != offer["kcv"]:
        raise Refusal("kcv_mismatch", "the protection key's check value does not match the server's")
    return kbpk


def _context(device_id: str, *public_keys: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    """Return what an agreement is bound to (SP 800-56A's OtherInfo): the device id, a zero byte, SHA-256 of each SPKI."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digests = b"".join(sha256(key.public_bytes(*form)).digest() for key in public_keys)
    return AGREEMENT_CONTEXT + device_id.encode() + b"\0" + digests


def _derive(shared_secret: bytes, context: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=KBPK_BYTES, salt=None, info=context).derive(shared_secret)


def _oaep(label: bytes) -> padding.OAEP:
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=label)


def protect(kbpk: bytes, clear: str, *, bound_to: str) -> dict[str, str]:
    """Seal a text for the terminal that holds the protection key: AES-256-GCM under a key derived from it (HKDF-SHA256), bound
    to a name. The nonce stands before the ciphertext, all in hex."""
    nonce = os.urandom(12)
    sealed = AESGCM(_text_key(kbpk)).encrypt(nonce, clear.encode(), bound_to.encode())
    return {"protected": (nonce + sealed).hex()}


def unprotect(kbpk: bytes, protected: dict[str, str], *, bound_to: str) -> str:
    """The terminal's side of `protect`; raise Refusal where it is not for this key and this name."""
    try:
        sealed = bytes.fromhex(protected["protected"])
        return AESGCM(_text_key(kbpk)).decrypt(sealed[:12], sealed[12:], bound_to.encode()).decode()
    except (InvalidTag, ValueError, KeyError, TypeError):
        raise Refusal("bad_secret", "the secret was not sealed for this terminal") from None


def _text_key(kbpk: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"tillwarden/protected-text/v1").derive(kbpk)
