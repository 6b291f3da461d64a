from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from project import sealing

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.mark.parametrize("keys", [[], [OLD], [NEW, OLD]], ids=["derived", "one", "two"])
def test_what_is_sealed_can_be_opened_and_not_read(settings, keys: list[str]) -> None:
    settings.ENCRYPTION_KEYS = keys
    sealed = sealing.seal("grüße")
    assert sealing.unseal(sealed) == "grüße" and "grüße" not in sealed
    assert sealing.seal("grüße") != sealed


def test_a_key_is_replaced_in_three_steps(settings) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    sealed = sealing.seal("a")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    again = sealing.resealed(sealed)
    settings.ENCRYPTION_KEYS = [NEW]
    assert sealing.unseal(again) == "a"
    with pytest.raises(sealing.CannotOpen):
        sealing.unseal(sealed)


@pytest.mark.parametrize("sealed", ["", "x", "gAAAAA", "grüße"])
def test_what_was_not_sealed_is_told(sealed: str) -> None:
    for function in (sealing.unseal, sealing.resealed):
        with pytest.raises(sealing.CannotOpen):
            function(sealed)


def test_the_first_key_that_is_set_does_not_lock_out_what_was_sealed_before(settings) -> None:
    settings.ENCRYPTION_KEYS = []
    sealed = sealing.seal("a")
    settings.ENCRYPTION_KEYS = [NEW]
    assert sealing.unseal(sealed) == "a" and sealing.resealed(sealed) != sealed


def test_nor_does_a_new_secret_key(settings) -> None:
    settings.ENCRYPTION_KEYS, settings.SECRET_KEY = [], "the one before"
    sealed = sealing.seal("a")
    settings.SECRET_KEY = "the next one"
    with pytest.raises(sealing.CannotOpen):
        sealing.unseal(sealed)
    settings.SECRET_KEY_FALLBACKS = ["the one before"]
    assert sealing.unseal(sealed) == "a"


def test_what_the_first_key_has_sealed_is_known(settings) -> None:
    settings.ENCRYPTION_KEYS = []
    derived = sealing.seal("a")
    assert sealing.is_current(derived)
    settings.ENCRYPTION_KEYS = [OLD]
    old = sealing.seal("a")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    assert sealing.is_current(sealing.resealed(old))
    assert not any(sealing.is_current(sealed) for sealed in (old, derived, "", "grüße"))
