"""C2SP chunked encryption, instance Cobblestone-256, written from the specification.

A second implementation beside the Rust one, to hold the two against each
other; https://c2sp.org/chunked-encryption is the source of both. Only the
primitives (AES-256-GCM, HMAC-SHA-512) come from elsewhere.
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CHUNK = 16 * 1024
TAG = 16
HEADER = 24 + 32
MAX_CHUNKS = 1 << 38


class Refused(ValueError):
    """The container does not open."""


def derive(key: bytes, salt: bytes, context: bytes) -> tuple[bytes, int, bytes]:
    """Content key, base nonce (as a number) and commitment: HKDF-Expand, no Extract."""
    if len(key) != 32 or len(salt) != 24:
        raise ValueError("expected a 32-byte key and a 24-byte salt")
    info = b"c2sp.org/chunked-encryption@v1+" + b"AEAD_AES_256_GCM" + b"\0" + salt + context
    block, stream, counter = b"", b"", 1
    while len(stream) < 32 + 12 + 32:
        block = hmac.new(key, block + info + bytes([counter]), hashlib.sha512).digest()
        stream += block
        counter += 1
    return stream[:32], int.from_bytes(stream[32:44], "big"), stream[44:76]


def nonce(base: int, chunk: int) -> bytes:
    if chunk >= MAX_CHUNKS:
        raise Refused("too many chunks")
    return (base ^ chunk).to_bytes(12, "big")


def seal(key: bytes, salt: bytes, context: bytes, plain: bytes) -> bytes:
    content_key, base, commitment = derive(key, salt, context)
    cipher = AESGCM(content_key)
    sealed = [salt, commitment]
    # One more chunk than there are full ones: the last is always short, and may be empty.
    for number in range(len(plain) // CHUNK + 1):
        chunk = plain[number * CHUNK : (number + 1) * CHUNK]
        sealed.append(cipher.encrypt(nonce(base, number), chunk, None))
    return b"".join(sealed)


def open_sealed(key: bytes, context: bytes, sealed: bytes) -> bytes:
    if len(sealed) < HEADER:
        raise Refused("too short")
    last = (len(sealed) - HEADER) % (CHUNK + TAG)
    if last == 0:
        raise Refused("truncated")
    if last < TAG:
        raise Refused("impossible length")
    salt, claimed = sealed[:24], sealed[24:HEADER]
    content_key, base, commitment = derive(key, salt, context)
    if not hmac.compare_digest(commitment, claimed):
        raise Refused("commitment mismatch")
    cipher = AESGCM(content_key)
    plain = []
    for number, start in enumerate(range(HEADER, len(sealed), CHUNK + TAG)):
        try:
            plain.append(cipher.decrypt(nonce(base, number), sealed[start : start + CHUNK + TAG], None))
        except InvalidTag as error:
            raise Refused(f"chunk {number} fails to authenticate") from error
    return b"".join(plain)
