"""Secrets as they are kept in the database: encrypted, with keys that can be changed while running."""

from __future__ import annotations

import base64
from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class CannotOpen(Exception):
    """It was sealed with a key that is not among ours. Says nothing of what is inside."""


def seal(text: str) -> str:
    """Encrypt, with the first of our keys."""
    return _ours().encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """What was sealed with any of our keys. Raises CannotOpen."""
    try:
        return _ours().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise CannotOpen from None


def resealed(sealed: str) -> str:
    """The same secret under the first of our keys. Raises CannotOpen."""
    try:
        return _ours().rotate(sealed.encode()).decode()
    except InvalidToken:
        raise CannotOpen from None


def is_current(sealed: str) -> bool:
    """Whether the first of our keys has sealed it."""
    keys, secret_keys = _keys()
    try:
        (_box(keys[:1], ()) if keys else _box((), secret_keys[:1])).decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def _ours() -> MultiFernet:
    return _box(*_keys())


def _keys() -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(settings.ENCRYPTION_KEYS), (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


@cache
def _box(keys: tuple[str, ...], secret_keys: tuple[str, ...]) -> MultiFernet:
    """The derived keys stay behind the given ones: what was sealed before there were any can be opened."""
    return MultiFernet([Fernet(key) for key in (*keys, *map(_derived, secret_keys))])


def _derived(secret_key: str) -> str:
    """For who has set no keys: from SECRET_KEY, so that nothing is ever kept in clear."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"carillon sealing")
    return base64.urlsafe_b64encode(kdf.derive(secret_key.encode())).decode()
