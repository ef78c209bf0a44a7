"""Bytes in, a head or a refusal out: whatever a stranger sends to the listener."""
from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.redirect.loopback_http import Head, Refusal, page, read_head, response

HOST = b"Host: localhost:8080\r\n"
GOOD = b"GET /cb?code=a%20b&state=s HTTP/1.1\r\n" + HOST + b"Cookie: a=\xc3\xa9;\tb\r\n\r\n"
TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(range(200))


def test_a_browsers_request_is_read_with_its_query_as_sent() -> None:
    assert read_head(GOOD) == Head("GET", "/cb", "code=a%20b&state=s", "localhost:8080")


def test_the_code_is_not_in_the_repr() -> None:
    assert "code" not in repr(read_head(GOOD))


@given(st.integers(0, len(GOOD) - 1))
def test_half_a_request_is_waited_for(length: int) -> None:
    assert read_head(GOOD[:length]) is None


@given(st.binary(max_size=300))
def test_what_follows_the_head_does_not_matter(rest: bytes) -> None:
    assert read_head(GOOD + rest) == read_head(GOOD)


@pytest.mark.parametrize(
    "raw",
    [
        TLS_HELLO,
        b"\x00" * 10,
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" + GOOD,
        b"GET / HTTP/1.1\n" + HOST + b"\n",
        b"GET /\r\n\r\n",
        b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /?a=\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://localhost:8080/?code=1 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT localhost:8080 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"host: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost:8080\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"colonless\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost:8080\r\r\n\r\n",
    ],
)
def test_what_no_browser_sends_is_refused(raw: bytes) -> None:
    assert read_head(raw) == Refusal(400)


@pytest.mark.parametrize("filler", [b"x", b" ", b"\t", b"a: b\r\n"])
def test_a_head_is_at_most_16_kib(filler: bytes) -> None:
    start = b"GET / HTTP/1.1\r\n" + HOST
    start += b"" if filler.endswith(b"\n") else b"Long: "
    assert read_head(start + filler * 16384) == Refusal(431)
    assert read_head(b"GET /?" + b"q" * 16384) == Refusal(431)


@pytest.mark.parametrize(("size", "good"), [(16382, True), (16383, True), (16384, True), (16385, False)])
def test_a_head_of_just_16_kib_is_read_and_one_byte_more_is_not(size: int, good: bool) -> None:
    start = b"GET / HTTP/1.1\r\n" + HOST + b"Long: "
    raw = start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"
    assert len(raw) == size
    assert read_head(raw) == (Head("GET", "/", "", "localhost:8080") if good else Refusal(431))
    assert read_head(raw[:-1]) == (None if good else Refusal(431))


@pytest.mark.parametrize("line", [b"Sec-Purpose: prefetch;prerender", b"Purpose: prefetch", b"X-Moz: prefetch"])
def test_a_prefetch_is_told_from_a_visit(line: bytes) -> None:
    head = read_head(b"GET /?code=1 HTTP/1.1\r\n" + HOST + line + b"\r\n\r\n")
    assert isinstance(head, Head)
    assert head.prefetch


@given(st.binary(max_size=2000) | st.binary(max_size=200).map(lambda b: b"GET / HTTP/1.1\r\n" + b + b"\r\n\r\n"))
def test_no_bytes_raise_and_a_head_names_exactly_one_host(raw: bytes) -> None:
    head = read_head(raw)
    if isinstance(head, Head):
        assert len(re.findall(rb"(?im)^host:", raw.partition(b"\r\n\r\n")[0])) == 1
        assert head.path.startswith("/")
        assert "?" not in head.path


@given(st.lists(st.sampled_from([b"GET ", b"/", b"?a", b" HTTP/1.1", b"\r\n", b"\n", b"Host: a", b":", b"\x16"])))
def test_a_verdict_does_not_change_with_more_bytes(words: list[bytes]) -> None:
    raw = b"".join(words)
    verdicts = [read_head(raw[:length]) for length in range(len(raw) + 1)]
    told = [verdict for verdict in verdicts if verdict is not None]
    assert all(verdict == told[0] for verdict in told)


def _fields(raw: bytes) -> dict[str, str]:
    head = raw.partition(b"\r\n\r\n")[0].decode("ascii")
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}


@pytest.mark.parametrize("status", [200, 303, 400, 404, 405, 421, 431, 503, 599])
def test_every_response_forbids_scripts_caches_and_referrers(status: int) -> None:
    raw = response(status, "<p>é</p>", location="/x" if status == 303 else "")
    fields = _fields(raw)
    assert raw.startswith(b"HTTP/1.1 %d " % status)
    assert "default-src 'none'" in fields["content-security-policy"]
    assert "frame-ancestors 'none'" in fields["content-security-policy"]
    assert "unsafe" not in fields["content-security-policy"]
    assert "script" not in fields["content-security-policy"]
    assert fields["cache-control"] == "no-store"
    assert fields["referrer-policy"] == "no-referrer"
    assert fields["x-content-type-options"] == "nosniff"
    assert fields["connection"] == "close"
    assert int(fields["content-length"]) == len(raw.partition(b"\r\n\r\n")[2]) == len("<p>é</p>".encode())


@pytest.mark.parametrize(("status", "allow"), [(200, None), (404, None), (405, "GET"), (406, None), (431, None)])
def test_a_response_names_the_allowed_method_only_where_another_is_refused(status: int, allow: str | None) -> None:
    assert _fields(response(status, "")).get("allow") == allow


@pytest.mark.parametrize("location", ["", "/done"])
def test_a_response_leads_elsewhere_only_where_it_is_said(location: str) -> None:
    assert _fields(response(303, "", location=location)).get("location", "") == location


def test_the_pages_own_style_is_the_only_one_that_is_allowed() -> None:
    [style] = re.findall("<style>(.*?)</style>", page("t", "m", ok=True), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in _fields(response(200, ""))["content-security-policy"]


def test_a_head_request_gets_no_body() -> None:
    assert response(405, "text", head_only=True).endswith(b"\r\n\r\n")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _read(html: str) -> _Tags:
    tags = _Tags()
    tags.feed(html)
    tags.close()
    return tags


PLAIN = _read(page("t", "m", ok=False, details="d"))


@given(st.text(), st.text(), st.text(), st.booleans())
def test_no_text_becomes_markup(title: str, message: str, details: str, ok: bool) -> None:
    html = page(title, message, ok=ok, details=details)
    read = _read(html)
    assert read.tags == PLAIN.tags
    assert read.attributes == PLAIN.attributes
    response(400, html)


@pytest.mark.parametrize("hostile", ["</title><script>alert(1)</script>", "<style>*{}</style>", "$title", "&lt;"])
def test_hostile_text_is_shown_as_it_is(hostile: str) -> None:
    assert _read(page("t", hostile, ok=False)).text.count(hostile) == 1


def test_a_page_has_no_script_and_fetches_nothing() -> None:
    html = page("Signed in", "ok", ok=True)
    assert not re.search(r"<script|\son\w+=|https?:|url\(|@import|style=", html)


def test_lines_of_details_stay_lines_and_control_characters_go() -> None:
    html = page("t", "a\x1b[31mb\u202ec", ok=True, details="one\ntwo\x00")
    assert "one\ntwo" in html
    assert not re.search("[\x00\x1b\u202e]", html)


def test_a_page_says_whether_it_went_well() -> None:
    assert 'aria-label="Done"' in page("t", "m", ok=True)
    assert 'aria-label="Not done"' in page("t", "m", ok=False)
