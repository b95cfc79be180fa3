"""Whatever is accepted as an address comes out as a URI that java.net.URI parses."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import AWKWARD, URLS, texts

from snowplow_tracker import uri
from snowplow_tracker.errors import ValidationError

# RFC 3986 as java.net.URI understands it, an escape being a % and two hexadecimal digits.
_PCHAR = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_REG_NAME = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})*"
_LITERAL = r"(?:[^\[\]/?#]*@)?\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.]+)?\](?::[A-Za-z0-9\-._~!$&'()*+,;=@]*)?"
LEGAL = re.compile(
    rf"(?:[A-Za-z][A-Za-z0-9+.\-]*:(?=[^#]))?(?://(?=[^\s])(?:{_LITERAL}|{_REG_NAME}))?"
    rf"(?:/|{_PCHAR})*(?:\?(?:{_PCHAR}|[/?])*)?(?:#(?:{_PCHAR}|[/?])*)?"
)


def converted(text: str) -> str | None:
    """The URI, or None where the text is refused."""
    try:
        return uri.page_url(text)
    except ValidationError:
        return None


@pytest.mark.parametrize(
    ("given_", "sent"),
    [
        ("http://example.com/", "http://example.com/"),
        ("www.example.com", "www.example.com"),
        ("/a/b", "/a/b"),
        ("?q=1", "?q=1"),
        ("#top", "#top"),
        ("http://example.com/a b", "http://example.com/a%20b"),
        (" http", "%20http"),
        ('http://e.com/"<>\\^`{|}', "http://e.com/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("http://e.com/ü/😀", "http://e.com/%C3%BC/%F0%9F%98%80"),
        ("http://e.com/%C3%BC%2f", "http://e.com/%C3%BC%2f"),
        ("http://e.com/100%", "http://e.com/100%25"),
        ("http://e.com/%zz%4", "http://e.com/%25zz%254"),
        ("http://e.com/?q=a&b;c=d?e/f", "http://e.com/?q=a&b;c=d?e/f"),
        ("http://e.com/[x]?[y]#[z]#", "http://e.com/%5Bx%5D?%5By%5D#%5Bz%5D%23"),
        ("http://e.com/a\tb\nc", "http://e.com/a%09b%0Ac"),
        ("http://müller.example/", "http://xn--mller-kva.example/"),
        ("http://user:p w@müller.example:8080/", "http://user:p%20w@xn--mller-kva.example:8080/"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("http://[fe80::1%eth0]/", "http://[fe80::1%eth0]/"),
        ("http://ex ample/", "http://ex%20ample/"),
        ("file:///C:/x", "file:///C:/x"),
        ("mailto:a@b.c", "mailto:a@b.c"),
        ("app:?x", "app:?x"),
        ("http://?q", "http://?q"),
        ("http://#top", "http://#top"),
        ("http:////", "http:////"),
        ("////", "////"),
        ("http://e.com?", "http://e.com?"),
        ("HTTPS://E.com#", "HTTPS://E.com#"),
    ],
)
def test_what_is_not_legal_is_escaped_and_what_is_stays(given_: str, sent: str) -> None:
    assert uri.page_url(given_) == sent
    assert LEGAL.fullmatch(sent)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "a non-empty string"),
        ("", "a non-empty string"),
        (b"http://e.com", "decode it first"),
        (5, "a non-empty string"),
        ([1, 2], "a non-empty string"),
        ("http://e.com/\x00", "control characters"),
        ("http://e.com/\r", "control characters"),
        ("http://e.com/\udc80", "lone surrogate"),
        ("1http://e.com", "starts with a scheme"),
        ("ht tp://e.com", "starts with a scheme"),
        ("://e.com", "starts with a scheme"),
        (":x", "starts with a scheme"),
        ("http:", "something after its scheme"),
        ("http://", "something after its scheme"),
        ("//", "something after its scheme"),
        ("app:#top", "something after its scheme"),
        ("app:#", "something after its scheme"),
        ("http://[1]/", "an IPv6 address between its brackets"),
        ("http://[]/", "an IPv6 address"),
        ('http://[::1%"x]/', "an IPv6 address"),
        ("http://[::1%]/", "an IPv6 address"),
        ("http://[::1]x/", "an IPv6 address"),
        ("http://ü" + "x" * 64 + ".example/", "a legal host name"),
        ("http://ü..example/", "a legal host name"),
        ("http://exämple .com/", "a legal host name"),
        ("http://good.example／ü/", "a legal host name"),
        ("http://good＠ü.example/", "a legal host name"),
    ],
)
def test_what_cannot_become_a_uri_is_refused_in_words(value: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        uri.page_url(value)
    assert str(caught.value).startswith("'page_url' must be ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("convert", "form", "limit", "part"),
    [
        (uri.page_url, "{}://e.com/", 16, "scheme"),
        (uri.page_url, "http://{}/", 255, "host"),
        (uri.page_url, "http://e.com{}", 3000, "path"),
        (uri.page_url, "http://e.com?{}", 6000, "query"),
        (uri.page_url, "http://e.com#{}", 3000, "fragment"),
        (uri.referrer, "http://e.com{}", 6000, "path"),
        (uri.referrer, "http://e.com?{}", 6000, "query"),
    ],
)
def test_each_part_has_the_pipelines_limit(convert: Any, form: str, limit: int, part: str) -> None:
    filling = "/" + "x" * (limit - 1) if part == "path" else "x" * limit
    assert convert(form.format(filling)) == form.format(filling)
    with pytest.raises(ValidationError, match=f"a URL whose {part} is at most {limit} characters long"):
        convert(form.format(filling + "x"))


def test_the_limits_hold_for_the_escaped_form() -> None:
    with pytest.raises(ValidationError, match="path is at most 3000"):
        uri.page_url("/" + "ü" * 500)


def test_the_whole_has_a_limit_of_its_own() -> None:
    parts = "/" + "p" * 2990, "q" * 4000, "f" * 2990
    assert len(uri.page_url("http://e.com{}?{}#{}".format(*parts))) < uri.WHOLE_LIMIT
    with pytest.raises(ValidationError, match="at most 10000 characters long once percent-encoded"):
        uri.page_url("http://e.com{}?{}#{}".format(parts[0], "ü" * 900, parts[2]))
    with pytest.raises(ValidationError, match="at most 10000 characters long"):
        uri.page_url("x" * 10_001)


@pytest.mark.parametrize("value", [None, ""])
def test_a_referrer_may_be_absent(value: str | None) -> None:
    assert uri.referrer(value) == value


def test_a_referrers_error_names_it() -> None:
    with pytest.raises(ValidationError, match="'referrer' must be a URL"):
        uri.referrer("http:")


_ANY_TEXT = st.text(st.sampled_from(AWKWARD + "ab1:/@[]%／＠？") | st.characters(codec="utf-8"), max_size=40)
_STRUCTURED = st.builds(
    "{}:{}{}".format, st.sampled_from(["http", "a", "1", ""]), st.sampled_from(["", "/", "//"]), _ANY_TEXT
)


@given(URLS | _ANY_TEXT | _STRUCTURED)
@settings(max_examples=400)
def test_whatever_is_taken_comes_out_legal_and_stays_as_it_is(text: str) -> None:
    sent = converted(text)
    if sent is not None:
        assert LEGAL.fullmatch(sent)
        assert uri.page_url(sent) == sent


@given(texts(60).filter(lambda text: "%" not in text))
def test_a_query_without_escapes_comes_back_by_unescaping(text: str) -> None:
    assert unquote(uri.page_url(f"http://e.com/?q={text}")) == f"http://e.com/?q={text}"
