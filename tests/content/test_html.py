"""The HTML of e-mails: its styles, its plain text and its links, and that none of it costs too much."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.content import links, styles
from apps.content.as_text import text_of
from apps.content.rendering import RenderingError
from apps.content.styles import inlined

_STYLE = "<style>p{color:red}</style>"


# --- Styles ------------------------------------------------------------------------------------------------


def test_without_a_style_it_stays_to_the_letter() -> None:
    html = "<tr>{{ <p style=color:red>1 < 2 &nbsp;"
    assert inlined(html) is html


def test_styles_of_style_elements() -> None:
    made = inlined(f"<html><head>{_STYLE}</head><body><p>x<p style='margin:0'>y</body></html>")
    assert '<p style="color: red;">x</p>' in made
    assert "margin:0" in made.replace(" ", "") and made.count("color: red") == 2
    assert "<style>" not in made


def test_what_cannot_stand_at_an_element_stays() -> None:
    made = inlined(
        "<!doctype html><style>@media (max-width:9px){p{color:blue}}</style>"
        "<!--[if mso]>x<![endif]--><p>ü&nbsp;"
    )
    assert "@media" in made and "<!--[if mso]>x<![endif]-->" in made and "ü&nbsp;" in made
    assert made.lower().startswith("<!doctype html>")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "/etc/passwd", "http://127.0.0.1:9/x.css"])
def test_nothing_is_fetched(address: str) -> None:
    made = inlined(
        f'<link rel="stylesheet" href="{address}"><style>@import url("{address}"); p{{margin:0}}</style><p>x'
    )
    assert "root:" not in made and '<p style="margin: 0;">x</p>' in made


_HOSTILE = {
    "deep": _STYLE + "<div>" * 9_000,
    "much": _STYLE + "<p>x" * 30_000,
    "deep behind a table": _STYLE + "<div><table></div></table>" * 2_000,
    "deep behind a script": _STYLE + "<div><script><!--<script></script></div>--></script>" * 1_200,
    "deep behind a select": _STYLE + "<select><style></select></style>" + "<div>" * 1_000,
    "deep behind svg": _STYLE + "<svg><style>" + "<div>" * 1_000,
    "left open": _STYLE + "<p>" + "".join(f"<b a={n}>" for n in range(400)) + "<p>x" * 4_000,
    "left open, a few": _STYLE + "<p>" + "".join(f"<b a={n}>" for n in range(19)) + "<p>x" * 9_000,
    "in rows": _STYLE + "<table><tr>" + "".join(f"<b a={n}><td></b></td>" for n in range(1_500)),
    "a long style": "<style>a{" + "c:r;" * 20_000 + "}</style>" + "<a>x</a>" * 4_000,
    "many properties": f"<style>a{{{''.join(f'c{n}:r;' for n in range(2_000))}}}</style>" + "<a></a>" * 150,
}  # fmt: skip


@pytest.mark.parametrize("html", _HOSTILE.values(), ids=_HOSTILE)
def test_hostile_html_is_refused_soon(html: str) -> None:
    started = time.thread_time()
    with pytest.raises(RenderingError):
        inlined(html)
    assert time.thread_time() - started < 2


_HEAVY = {
    "deep": _STYLE + "<div>" * 390,
    "much": f"<style>a{{{''.join(f'c{n % 140}:r;' for n in range(16_000))}}}</style>" + "<a></a>" * 35,
    "selectors": "<style>" + "i~i i~b i+u i{a:b}" * 50 + "</style>" + "<i></i>" * 4_900,
    "has": "<style>" + "div:has(div:has(div:has(q))){a:b}" * 2_000 + "</style>" + "<div>" * 95,
}  # fmt: skip


@pytest.mark.parametrize("html", _HEAVY.values(), ids=_HEAVY)
def test_what_is_not_refused_does_not_take_long(html: str) -> None:
    started = time.thread_time()
    assert len(inlined(html)) < styles.MAX_BYTES
    assert time.thread_time() - started < 2


def test_a_long_honest_mail_is_not_refused() -> None:
    row = "<tr class=row><td><b>{0}</b><br><a href=https://a.example/{0}>Open</a></td></tr>"
    css = ".row td{padding:8px} a{color:blue} a:hover{color:red}" * 10
    html = f"<style>{css}</style><table>{''.join(row.format(n) for n in range(800))}</table>"
    assert inlined(html).count("padding: 8px") == 800


def test_from_many_threads() -> None:
    html = f"{_STYLE}{'<p>x</p>' * 100}"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(inlined, [html] * 200))
    assert made == {inlined(html)}


# --- Plain text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("<p>a\n  b</p><p>c</p>", "a b\n\nc"),
        ("a <b>b</b>c", "a bc"),
        ("<div>a</div><div>b<br>c<br><br><br>d</div>", "a\nb\nc\n\nd"),
        ("<ul><li>a<li>b</ul>c", "- a\n- b\n\nc"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</table>", "a b\nc"),
        ("<h1>A &amp; B&nbsp;C &lt;d&gt;</h1>e", "A & B C <d>\n\ne"),
        ('<a href="https://a.example/">x y</a>.', "x y (https://a.example/)."),
        ('<a href="https://a.example">https://a.example</a>', "https://a.example"),
        ('<a href="https://a.example">a.example</a>', "a.example"),
        ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        ('<a href="mailto:a@b.example">Write</a>', "Write (a@b.example)"),
        ('<a href="javascript:x">a</a> <a name=b>b</a>', "a b"),
        ('<a href="https://a.example"><img src=x alt="Logo"></a>', "Logo (https://a.example)"),
        ('<a href="https://a.example"><img src=x></a>b', "b"),
        ("<head><title>T</title><style>p{}</style></head><script>x</script>a", "a"),
        ("<div style='DISPLAY : none'>a<div>b</div>c</div>d", "d"),
        ("<p hidden>a<p>b", "b"),
        ("<!-- a --><!--[if mso]><p>b</p><![endif]-->c", "c"),
        ("a < b", "a < b"),
        ("a<b", "a"),
    ],
)  # fmt: skip
def test_plain_text(html: str, text: str) -> None:
    assert text_of(html) == text


@given(st.text(alphabet="ab <>/&;\n"), st.text(alphabet="ab <>/&;\n"))
def test_any_html_has_a_text(first: str, second: str) -> None:
    html = f"{first}<a href='https://a.example'><li style='display:none'>{second}"
    assert len(text_of(html)) <= 2 * len(html) + 40


@pytest.mark.parametrize(
    "html",
    [
        *("<div>" * 40_000, "<table>" * 25_000, "<tr><td>a" * 20_000, "<a href=https://x>a" * 10_000),
        *("<p hidden>" * 20_000, "&amp" * 50_000, "<" * 200_000, "<a href=https://x>" + "b " * 90_000),
        *("<p style='" + "display:" * 20_000, "<img alt=x>" * 15_000, "<!--" * 50_000, "<b" + " c" * 90_000),
    ],
)
def test_plain_text_takes_linear_time(html: str) -> None:
    started = time.thread_time()
    text = text_of(html)
    assert time.thread_time() - started < 2
    assert len(text) <= 2 * len(html)


# --- Links -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "html",
    [
        "<a href='https://a.example'>",
        '<a href="HTTP://a.example">',
        "<a href=mailto:a@b.example>",
        "<a href='#x'>",
        '<a href="{{ url }}">',
        '<a href="https://{{ host }}/x">',
        '<a href="{{ a | append: "b" }}/c">',
        '<a href="{% if a > b %}x{% endif %}">',
        "<a>",
        "<img src='cid:logo'>",
        "<img src='data:image/png;base64,x'>",
        "<a href=tel:+49301234>",
        "<p title='javascript:x'>",
        "<!-- <a href=x> -->",
        "<a href=''>",
    ],
)
def test_links_that_lead_somewhere(html: str) -> None:
    assert list(links.in_html(html)) == []


@pytest.mark.parametrize(
    ("html", "word"),
    [
        ("<a href='javascript:{{ x }}'>", "javascript:"),
        ("<a href=' JAVASCRIPT:x'>", "JAVASCRIPT:"),
        ("<a href='java&#10;script:x'>", "javascript:"),
        ("<a href='&#106;avascript:x'>", "javascript:"),
        ("<a href='data:text/html,x'>", "data:"),
        ("<img src='data:text/html,x'>", "data:"),
        ("<a href='/path'>", "relative"),
        ("<a href='//host/path'>", "relative"),
        ("<img src=logo.png>", "relative"),
        ("<a href='orders/{{ id }}'>", "relative"),
        ("<form action='javascript:x'>", "javascript:"),
        ("<td background='x.png'>", "relative"),
    ],
)
def test_links_that_lead_nowhere(html: str, word: str) -> None:
    (wrong,) = links.in_html(html)
    assert word in wrong
