"""What a path or a redirect may not do, in every spelling of it."""
from __future__ import annotations

import ipaddress
import socket
from collections import defaultdict
from unicodedata import normalize
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from SlyAPI.web.redirects import headers_for_other_origin, is_private_host, leads_inside, leaves_base_path

BASE = "https://api.example/v1"
UPWARD = ["..", "%2e%2e", ".%2E", "%252e%252e", "..;x", "%2e.;a=b", "..%20"]
SLASHES = ["/", "//", "/./", "%2f", "%252F", "\\", "%5c"]


@pytest.mark.parametrize("base", [BASE, f"{BASE}/", "https://api.example/a/b"])
@pytest.mark.parametrize("slash", SLASHES)
@pytest.mark.parametrize("up", UPWARD)
def test_no_spelling_of_dots_leaves_the_path_of_the_base_url(base: str, slash: str, up: str) -> None:
    assert leaves_base_path(base, f"{base}/{up}{slash}admin")
    assert leaves_base_path(base, f"{base}/things{slash}{up}{slash}{up}{slash}admin")
    assert leaves_base_path(base, f"{base}/{up}{slash}v1{slash}{up}?q=1")
    assert not leaves_base_path(base, f"{base}/things{slash}{up}{slash}other")


@pytest.mark.parametrize(
    "url",
    [
        BASE,
        f"{BASE}/",
        f"{BASE}/a..b/...",
        f"{BASE}/things?path=../../x",
        f"{BASE}/things#../..",
        "https://api.example/v2/next?page=2",
        f"{BASE}?q=..",
        f"{BASE}/a%2Fb",
    ],
)
def test_a_path_without_dots_is_left_alone(url: str) -> None:
    assert not leaves_base_path(BASE, url)


def test_an_origin_alone_has_nothing_to_leave_below_it() -> None:
    assert leaves_base_path("https://api.example", "https://api.example/../x")
    assert not leaves_base_path("https://api.example", "https://api.example/a/../x")


@given(st.lists(st.sampled_from(["a", "b", "..", "."]), max_size=8), st.integers(0, 3))
def test_a_path_leaves_exactly_where_resolving_it_step_by_step_does(segments: list[str], times: int) -> None:
    depth, left = 0, False
    for segment in segments:
        depth += {"..": -1, ".": 0}.get(segment, 1)
        left = left or depth < 0
    path = "/".join(segments)
    for _ in range(times):
        path = "".join(f"%{ord(c):02x}" if c in "./" else c for c in path) if "%" not in path else quote(path, safe="")
    assert leaves_base_path(BASE, f"{BASE}/{path}") is left


@given(st.text(), st.text())
def test_any_text_has_an_answer(base: str, url: str) -> None:
    assert leaves_base_path(base, url) in (True, False)
    assert leads_inside(base, url) in (True, False)


def test_only_headers_of_the_list_follow_to_another_origin() -> None:
    safe = {"Accept": "a/b", "ACCEPT-LANGUAGE": "de", "accept-encoding": "br"}
    safe |= {"user-agent": "x", "Range": "bytes=0-", "If-Range": "e"}
    others = ["Accept-Token", "User-Agent-Key", "Range-Secret", "Authorization", "Cookie", "X-Api-Key", "Referer"]
    assert headers_for_other_origin({**safe, **dict.fromkeys(others, "s3cret")}) == safe


INSIDE = [
    *("localhost", "LOCALHOST.", "a.localhost", "printer.local", "nas.home.arpa", "metadata.google.internal"),
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "0", "0.0.0.0", "127.0.0.1."),
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("[::1]", "::1", "[::]", "[fe80::1%25eth0]", "[fd00::1]", "[::ffff:127.0.0.1]", "[2002:7f00:1::]"),
    "[::ffff:7f00:1]",
]
OUTSIDE = ["api.example", "93.184.215.14", "1.1.1.1", "[2606:4700::1111]", "localhost.example", "1.2.3.4.5", "0x", ""]


@pytest.mark.parametrize("host", INSIDE)
def test_this_machine_and_private_networks_are_known_in_every_spelling(host: str) -> None:
    assert is_private_host(host)


@pytest.mark.parametrize("host", OUTSIDE)
def test_a_public_host_is_not_private(host: str) -> None:
    assert not is_private_host(host)


numbers = st.integers(0, 2**32 - 1).flatmap(lambda n: st.sampled_from([str(n), hex(n), f"0{n:o}"]))


@given(numbers | st.from_regex(r"\A[0-9x.a-f]{1,16}\Z"))
def test_an_ipv4_address_is_read_as_the_resolver_reads_it(host: str) -> None:
    try:
        address = ipaddress.ip_address(socket.inet_aton(host))
    except OSError:
        return
    assert is_private_host(host) is (not address.is_global or address.is_multicast)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]:80", "localhost", "me:pass@10.0.0.1", "0x7f.1:1"])
def test_a_redirect_from_a_public_origin_does_not_lead_inside(host: str) -> None:
    assert leads_inside("https://api.example/x", f"http://{host}/admin")
    assert not leads_inside("http://localhost:8080/x", f"http://{host}/admin")
    assert not leads_inside("https://api.example/x", "https://other.example/")


SPELLINGS: defaultdict[str, list[str]] = defaultdict(list)
"""The characters that name preparation reads as one of ASCII (UTS #46): other widths, circled ones, other dots."""
for _char in map(chr, range(0x21, 0x10000)):
    SPELLINGS[normalize("NFKC", _char).lower().replace("。", ".")].append(_char)


def spelled(host: str) -> st.SearchStrategy[str]:
    return st.tuples(*(st.sampled_from(SPELLINGS[char]) for char in host)).map("".join)


@example("http://127\N{IDEOGRAPHIC FULL STOP}0.0.1/")
@given(st.sampled_from([host for host in (*INSIDE, *OUTSIDE) if host]).flatmap(lambda host: spelled(host.lower())))
def test_a_host_is_judged_as_aiohttp_reads_it(host: str) -> None:
    url = host if "/" in host else f"https://{host}/"
    try:
        read = URL(url).raw_host
    except (ValueError, IndexError):
        return  # it is never sent
    assert leads_inside("https://api.example/x", url) is is_private_host(read or "")
