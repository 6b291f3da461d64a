"""The HTML of tracked e-mails: links lead by us, everything else stays to the letter; and what tokens say."""

from __future__ import annotations

import re
import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.notifications import tracking
from apps.notifications.tracking import MAX_URL, clicked, opened, rewrite
from project import ids

TARGET = ids.target_id()
OURS = "https://carillon.example.com"
_LINK = re.compile(rf'"{OURS}/t/c/([^"]+)"')
_PIXEL = re.compile(rf'<img src="{OURS}/t/o/([^"/]+)\.gif" width="1" height="1" alt="" style="[^"]+">')


def rewritten(html: str) -> str:
    """As it is sent, with the address in the place of each link of ours, in {}, and without the pixel."""
    text = rewrite(html, TARGET, public_url=OURS)
    (token,) = _PIXEL.findall(text)
    assert opened(token) == TARGET

    def address(match: re.Match[str]) -> str:
        said = clicked(match[1])
        assert said is not None and said.target == TARGET
        return f"{{{said.url}}}"

    return _LINK.sub(address, _PIXEL.sub("", text))


# --- Links -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "sent"),
    [
        ('<a href="https://a.example/x">', "<a href={https://a.example/x}>"),
        ("<a href='http://a.example'>", "<a href={http://a.example}>"),
        ("<a href=http://a.example/>x</a>", "<a href={http://a.example/}>x</a>"),
        ("<A class=b HREF = HTTP://a.example id=c>", "<A class=b HREF = {HTTP://a.example} id=c>"),
        ('<a\n href\n=\n"http://a.example"\n/>', "<a\n href\n=\n{http://a.example}\n/>"),
        ('<a title="a>b" href="http://a.example">', '<a title="a>b" href={http://a.example}>'),
        ("<a title=it's href='http://a.example'>", "<a title=it's href={http://a.example}>"),
        ('<area href="http://a.example"/>', "<area href={http://a.example}/>"),
        ('<a href=" http://a.example/\nb ">', "<a href={http://a.example/b}>"),
        ('<a href="http://a" href="http://b">', '<a href={http://a} href="http://b">'),
        ('<a href="http://müller.example/ü x">', "<a href={http://müller.example/ü x}>"),
        ('<p><a href="http://a">1</a><a href="http://b">2</a>', "<p><a href={http://a}>1</a><a href={http://b}>2</a>"),
        ('<![if !mso]><a href="http://a"><![endif]>', "<![if !mso]><a href={http://a}><![endif]>"),
        ('<!----><a href="http://a"><!-- --!><a href="http://b">', "<!----><a href={http://a}><!-- --!><a href={http://b}>"),
        ('1 < 2 <3 </ b> <a href="http://a">', "1 < 2 <3 </ b> <a href={http://a}>"),
        ("<style>a{}</style><a href=http://a>", "<style>a{}</style><a href={http://a}>"),
        ("<abbr><a href=http://a>", "<abbr><a href={http://a}>"),
    ],
)  # fmt: skip
def test_a_link_leads_by_us_to_where_it_led(html: str, sent: str) -> None:
    assert rewritten(html) == sent


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("http://a/?x=1&amp;y=2", "http://a/?x=1&y=2"),
        ("http://a/?x=1&y=2", "http://a/?x=1&y=2"),
        ("http://a/?x=1&copy=2&lt=3&ltx=4", "http://a/?x=1&copy=2&lt=3&ltx=4"),
        ("http://a/?x=1&copy;&#38;&#x26;&amp;amp;", "http://a/?x=1©&&&amp;"),
        ("http://a/?x=&copy", "http://a/?x=©"),
        ("http://a/?x=&notit;&nothing;&#;", "http://a/?x=&notit;&nothing;&#;"),
        ("&#104;ttp://a", "http://a"),
        ("http&colon;//a&sol;b", "http://a/b"),
    ],
)
def test_the_address_is_read_as_browsers_read_it(value: str, url: str) -> None:
    assert rewritten(f'<a href="{value}">') == f"<a href={{{url}}}>"


@pytest.mark.parametrize(
    "html",
    [
        "",
        "only text & <b>markup</b>",
        '<a href="mailto:ada@example.com">',
        '<a href="tel:+4930123456">',
        '<a href="#top">',
        '<a href="/relative">',
        '<a href="//a.example/x">',
        '<a href="javascript:alert(1)">',
        '<a href="ftp://a.example">',
        '<a href="http://">',
        '<a href="">',
        "<a href>",
        "<a href=>",
        '<a name="http://a.example">',
        '<a xhref="http://a.example">',
        f'<a href="http://a.example/{"x" * MAX_URL}">',
        '<link href="http://a.example/s.css">',
        '<base href="http://a.example/">',
        '<img src="http://a.example/i.png" alt="<a href=\'http://a.example\'>">',
        '<!-- <a href="http://a.example"> -->',
        '<!--[if mso]><a href="http://a.example"><![endif]-->',
        '<!-- never closed <a href="http://a.example">',
        '<style>/* <a href="http://a.example"> */</style>',
        "<script>x = '<a href=\"http://a.example\">'</script>",
        '<title><a href="http://a.example"></title>',
        '<textarea><a href="http://a.example">',
        '<STYLE>never closed <a href="http://a.example"> </styles>',
        '<a href="http://a.example',
        "<a href='http://a.example>text</a>",
        '<a href="http://a.example" title="never closed>',
        "</a href='http://a.example'>",
        '<? <a href="http://a.example"',
    ],
)
def test_everything_else_stays_to_the_letter(html: str) -> None:
    assert rewritten(html) == html


@pytest.mark.parametrize(
    ("html", "sent"),
    [
        ('<a href="http://a" data-no-track>', '<a href="http://a">'),
        ('<a data-no-track href="http://a">', '<a href="http://a">'),
        ('<a href="http://a" DATA-NO-TRACK="" class="b"/>', '<a href="http://a" class="b"/>'),
        ("<a href=http://a data-no-track = 'x' >", "<a href=http://a >"),
        ('<a href="mailto:a@b.example" data-no-track/>', '<a href="mailto:a@b.example"/>'),
        ('<a href="http://a" title="data-no-track">', '<a href={http://a} title="data-no-track">'),
        ('<b data-no-track><a href="http://a">', "<b data-no-track><a href={http://a}>"),
    ],
)
def test_a_link_that_is_marked_loses_its_mark_only(html: str, sent: str) -> None:
    assert rewritten(html) == sent


def test_the_longest_address_is_led_by_us() -> None:
    url = "http://a.example/".ljust(MAX_URL, "x")
    assert rewritten(f'<a href="{url}">') == f"<a href={{{url}}}>"


# --- The pixel -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "before"),
    [
        ("<html><body><p>x</p></body></html>", "</body></html>"),
        ("<BODY>x</BODY >", "</BODY >"),
        ("<body>a</body><p>b</body>", "</body>"),
        ("<p>a fragment", ""),
        ("<!-- </body> --><p>x", ""),
        ("</body><a href='http://a'>", ""),
        ("", ""),
    ],
)
def test_it_is_at_the_end_of_the_body(html: str, before: str) -> None:
    text = rewrite(html, TARGET, public_url=OURS)
    (match,) = _PIXEL.finditer(text)
    assert text[match.end() :] == before


# --- Any text --------------------------------------------------------------------------------------------

_BITS = [
    *(
        "<",
        ">",
        "<a ",
        "<a href=",
        "</a>",
        "href",
        "=",
        '"',
        "'",
        "http://a/",
        "&amp;",
        "&",
        " ",
        "\n",
        "/",
        "x",
    ),
    *("<!--", "-->", "--!>", "<![", "]]>", "<style>", "</style>", "</body>", "\0", "é", "\ud800"),
]


@given(st.lists(st.sampled_from(_BITS), max_size=30).map("".join) | st.text())
def test_of_any_text_only_the_addresses_of_links_are_others(html: str) -> None:
    sent = rewrite(html, TARGET, public_url=OURS)
    assert len(_PIXEL.findall(sent)) == 1
    between = _LINK.split(_PIXEL.sub("", sent))
    tokens, kept = between[1::2], between[::2]
    was = re.fullmatch("(.+?)".join(map(re.escape, kept)), html, re.DOTALL)
    assert was is not None
    urls = [said.url for token in tokens if (said := clicked(token))]
    assert [tracking._url(value).encode(errors="replace").decode() for value in was.groups()] == urls


@pytest.mark.parametrize("mark", ["data-no-track", "data-no-track=x", "Data-No-Track=''"])
@given(
    st.lists(st.sampled_from(["title='<a>'", "b", "c=d", 'href="http://a"', "href=http://b/"]), max_size=4)
)
def test_a_mark_is_taken_out_wherever_it_is(mark: str, others: list[str]) -> None:
    for place in range(len(others) + 1):
        marked = " ".join(["<a", *others[:place], mark, *others[place:]]) + ">"
        assert rewritten(marked) == " ".join(["<a", *others]) + ">"


_HOSTILE = [
    *("<a " * 30_000, "<!--" * 30_000, '<a href="' * 30_000, "</" * 50_000, "<![if" * 20_000, "<" * 100_000),
    *("<a" + " b" * 50_000, "<a" + " " * 100_000, f"<a b{' ' * 100_000}c", "<title>" * 20_000),
    f"<a href='http://a{'&lt' * 30_000}'>",
]


@pytest.mark.parametrize("html", _HOSTILE, ids=lambda html: html[:9])
def test_what_is_never_closed_costs_no_more_than_other_texts(html: str) -> None:
    start = time.process_time()
    rewrite(html, TARGET, public_url=OURS)
    assert time.process_time() - start < 5


# --- Tokens ----------------------------------------------------------------------------------------------


def token_of(url: str = "https://a.example/") -> str:
    return tracking._token("click", TARGET, url)


def test_a_token_says_who_and_where() -> None:
    assert clicked(token_of()) == (TARGET, "https://a.example/")
    assert opened(tracking._token("open", TARGET)) == TARGET
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", token_of("https://a.example/?ü=1&x"))


def test_a_token_of_one_kind_is_none_of_the_other() -> None:
    assert opened(token_of()) is None
    assert clicked(tracking._token("open", TARGET)) is None


def test_whatever_is_changed_in_a_token_makes_it_none_of_ours(settings) -> None:
    token = token_of()
    for place in range(len(token)):
        other = "A" if token[place] != "A" else "B"
        assert clicked(token[:place] + other + token[place + 1 :]) is None
        assert clicked(token[:place]) is None
    assert clicked(token + "A") is None
    settings.SECRET_KEY = "another"
    assert clicked(token) is None


@given(st.text(max_size=80))
def test_no_other_text_is_a_token(text: str) -> None:
    assert clicked(text) is None and opened(text) is None


def test_what_an_earlier_key_has_signed_still_leads_somewhere(settings) -> None:
    token = token_of()
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    assert clicked(token) == (TARGET, "https://a.example/")


def test_a_token_tells_of_one_target_only() -> None:
    other = UUID(int=TARGET.int ^ 1 << 20)
    assert rewrite("<a href=http://a>", other, public_url=OURS) != rewrite(
        "<a href=http://a>", TARGET, public_url=OURS
    )
