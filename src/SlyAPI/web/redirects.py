"""What a path or a redirect may not do: leave the base URL, take headers along, or reach into a private network. Pure.

The rule: a doubtful spelling counts as the worst that a server could read in it.
"""

from collections.abc import Mapping
from urllib.parse import unquote

from .urls import parsed_url

HEADERS_FOR_ANY_ORIGIN = frozenset({"accept", "accept-encoding", "accept-language", "user-agent", "range", "if-range"})
"""The headers of a caller that hold no secret by their meaning; only these follow a redirect to another origin."""
_ROUNDS = 4
_NAT64 = "64:ff9b::/96"
"""Addresses that a translator maps to the IPv4 address in their last 32 bits (RFC 6052 §2.1)."""


def headers_for_other_origin(headers: Mapping[str, str]) -> dict[str, str]:
    """The caller's headers that may be sent to another origin, by their exact names."""
    return {name: value for name, value in headers.items() if name.lower() in HEADERS_FOR_ANY_ORIGIN}


def leaves_base_path(base_url: str, url: str) -> bool:
    """Whether `url` begins in the path of `base_url` and then leaves it by `..`, in any encoding (RFC 3986 §5.2.4).

    >>> leaves_base_path("https://api.example/v1", "https://api.example/v1/%2e%2e/admin")
    True
    """
    if ".." not in url and "%" not in url:  # nearly always
        return False
    base, path = path_segments(base_url), path_segments(url)
    if path[: len(base)] != base:
        return ".." in path and _resolved(path)[: len(base)] != base
    depth = 0
    for segment in path[len(base) :]:
        depth += -1 if segment == ".." else 1
        if depth < 0:
            return True
    return False


def path_segments(url: str) -> list[str]:
    """The segments of a URL's path, decoded as often as it is encoded; without empty ones and `.`."""
    path = url.partition("?")[0].partition("#")[0]
    path = path.partition("//")[2].partition("/")[2] if "://" in path else path
    for _ in range(_ROUNDS):
        path = unquote(path)
    # Some servers drop what stands behind `;` in a segment, and read a backslash as a slash.
    segments = [segment.partition(";")[0].strip() for segment in path.replace("\\", "/").split("/")]
    return [segment for segment in segments if segment not in ("", ".")]


def _resolved(segments: list[str]) -> list[str]:
    kept: list[str] = []
    for segment in segments:
        if segment != "..":
            kept.append(segment)
        elif kept:
            kept.pop()
    return kept


def leads_inside(url: str, target: str) -> bool:
    """Whether a redirect, or an address in metadata, leads from a public origin inside (SSRF, CWE-918).

    Inside is this machine, or a private network. Judges names and addresses as written; a public name that DNS
    resolves to a private address is not noticed.
    """
    return is_private_host(_host(target)) and not is_private_host(_host(url))


def _host(url: str) -> str:
    """The host as aiohttp connects to it: name preparation gives `127。0。0。1` its dots (UTS #46)."""
    try:
        return parsed_url(url).raw_host or ""
    except ValueError:
        return ""


def is_private_host(host: str) -> bool:
    """Whether a host is this machine, or an address that is not reachable from the internet (RFC 6890).

    Names count that are local by definition (RFC 6761 §6.3, RFC 6762 §3, RFC 8375), and every spelling of an IPv4
    address that a resolver takes.
    """
    import ipaddress  # only redirects to another host need it

    host = host.strip("[]").rstrip(".").partition("%")[0].lower()
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal", ".home.arpa")):
        return True
    number = _ipv4_number(host)
    try:
        address = ipaddress.ip_address(host if number is None else number)
    except ValueError:
        return False
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if address.version == 6 and address in ipaddress.ip_network(_NAT64):
        inner = ipaddress.ip_address(int(address) & 0xFFFFFFFF)
    return address.is_multicast or not (inner or address).is_global


def _ipv4_number(host: str) -> int | None:
    """An IPv4 address in one to four parts, each decimal, octal or hexadecimal, as `inet_aton` reads it."""
    parts = host.split(".")
    try:
        numbers = [int(part, 16 if part[:2] == "0x" else 8 if part[:1] == "0" else 10) for part in parts]
    except ValueError:
        return None
    *leading, last = numbers
    if len(parts) > 4 or any(not 0 <= number < 256 for number in leading) or not 0 <= last < 256 ** (5 - len(parts)):
        return None
    return sum(number << (8 * (3 - place)) for place, number in enumerate(leading)) + last
