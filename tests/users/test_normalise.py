"""One spelling for each address and name."""

from __future__ import annotations

import pytest

from apps.users import normalise


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Ada@Example.COM", "Ada@example.com"),
        ('"a..b"@Example.com', '"a..b"@example.com'),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("a+tag@sub.example.co.uk", "a+tag@sub.example.co.uk"),
    ],
)
def test_email(given: str, kept: str) -> None:
    assert normalise.email(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        *("ada", "ada@", "@example.com", "ada@example", " ada@example.com", "ada@example.com\n", "a@b@c.de"),
        *("ada\x00@example.com", '"a\x01"@example.com', "ada@example..com", "a" * 250 + "@example.com"),
        "ada@" + "ü" * 60 + ".example",
    ],
)
def test_no_email(given: str) -> None:
    with pytest.raises(ValueError, match=r"e-mail|Control") as raised:
        normalise.email(given)
    assert given not in str(raised.value)  # answers and logs do not repeat addresses


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("+4930123456", "+4930123456"),
        ("+49 (0)30 12-34.56", "+4930123456"),
        ("+1 (212) 555-0100", "+12125550100"),
        ("+15005550006", "+15005550006"),  # a provider's test number: possible, if not valid
    ],
)
def test_phone(given: str, kept: str) -> None:
    assert normalise.phone(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        *("030123456", "004930123456", "+49", "+999123456", "+4930123456 ext. 5", "+1 800 FLOWERS", "+"),
        *("+49301234567890123456", "+4930123456789012", "+4930123456\x00", "+٤٩30123456", "tel:+4930123456"),
    ],
)
def test_no_phone(given: str) -> None:
    with pytest.raises(ValueError, match="number"):
        normalise.phone(given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("en", "en"), ("PT-br", "pt-BR"), ("zh-hant-tw", "zh-Hant-TW"), ("es-419", "es-419"), ("FIL", "fil")],
)
def test_language(given: str, kept: str) -> None:
    assert normalise.language(given) == kept


@pytest.mark.parametrize("given", ["english", "e", "pt_BR", "de-", "de--DE", "de-ümlaut", "de\n"])
def test_no_language(given: str) -> None:
    with pytest.raises(ValueError, match="BCP 47"):
        normalise.language(given)


def test_timezone() -> None:
    assert normalise.timezone("Europe/Berlin") == "Europe/Berlin"
    for wrong in ("Mars/Olympus", "europe/berlin", "+02:00", "../../etc/passwd"):
        with pytest.raises(ValueError, match="IANA"):
            normalise.timezone(wrong)


@pytest.mark.parametrize("given", ["a\x00", "a\nb", "a\x7f", "a\x85", "a\u2028b"])
def test_text_is_one_line(given: str) -> None:
    with pytest.raises(ValueError, match="Control"):
        normalise.text(given)
