"""Encryption to a browser: https://www.rfc-editor.org/rfc/rfc8291."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LARGEST_RECORD = 4_096  # bytes a push service must take: https://www.rfc-editor.org/rfc/rfc8291#section-4
OVERHEAD = 16 + 4 + 1 + 65 + 1 + 16  # salt, record size, length of the key, key; delimiter, tag
LARGEST_PLAINTEXT = LARGEST_RECORD - OVERHEAD


def encrypt(
    plaintext: bytes,
    receiver: ec.EllipticCurvePublicKey,
    auth: bytes,
    *,
    sender: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes = b"",
) -> bytes:
    """The body of a push: one aes128gcm record that only this browser can read.

    `sender` and `salt` are new for each message; they are arguments for the sake of the RFC's example.
    """
    sender = sender or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(16)
    ours, theirs = point(sender.public_key()), point(receiver)
    shared = sender.exchange(ec.ECDH(), receiver)
    secret = _derive(shared, auth, b"WebPush: info\x00" + theirs + ours, 32)
    key = _derive(secret, salt, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = _derive(secret, salt, b"Content-Encoding: nonce\x00", 12)
    # The layout is RFC 8188's; 2 delimits the last record: https://www.rfc-editor.org/rfc/rfc8188#section-2.
    head = salt + LARGEST_RECORD.to_bytes(4, "big") + bytes([len(ours)]) + ours
    return head + AESGCM(key).encrypt(nonce, plaintext + b"\x02", None)


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as 65 bytes, the uncompressed point."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _derive(material: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(material)
