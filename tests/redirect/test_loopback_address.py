"""Which redirect URIs can be listened for, and what is listened on for them."""
from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SlyAPI.errors import ConfigError, ListenError
from SlyAPI.redirect.loopback_address import Address, check_redirect_uri, linger, listening_sockets, reuse_option


@pytest.mark.parametrize(
    ("uri", "host", "port", "path", "hosts"),
    [
        ("http://localhost:8080", "localhost", 8080, "/", {"localhost:8080"}),
        ("http://LocalHost:8080/cb", "localhost", 8080, "/cb", {"localhost:8080"}),
        ("http://127.0.0.1/a/b", "127.0.0.1", 80, "/a/b", {"127.0.0.1", "127.0.0.1:80"}),
        ("http://localhost:79", "localhost", 79, "/", {"localhost:79"}),
        ("http://[::1]:9000/cb?x=1", "::1", 9000, "/cb", {"[::1]:9000"}),
        ("http://[0:0:0:0:0:0:0:1]:9000", "::1", 9000, "/", {"[::1]:9000"}),
    ],
)
def test_a_loopback_uri_is_read(uri: str, host: str, port: int, path: str, hosts: set[str]) -> None:
    address = Address.of(uri)
    assert address == Address(uri, host, port, path)
    assert address.hosts == hosts


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "localhost:8080",
        "https://localhost:8080",
        "ftp://localhost:8080",
        "http://example.com:8080",
        "http://localhost.example.com",
        "http://0.0.0.0:8080",
        "http://[::]:8080",
        "http://10.0.0.1:8080",
        "http://[::ffff:127.0.0.1]:8080",
        "http://[fe80::1]:8080",
        "http://127.1:8080",
        "http://2130706433:8080",
        "http://localhost:99999",
        "http://localhost:eighty",
        "http://localhost:\u0668\u0660",
        "http://[::1",
        "http://user@localhost:8080",
        "http://localhost@evil.example:8080",
        "http://localhost:8080/#part",
        "http://localhost:8080/a b",
        "http://localhost:8080/\r\nx",
        "http://localhost\\@evil.example",
        "urn:ietf:wg:oauth:2.0:oob",
        "myapp://callback",
    ],
)
def test_another_uri_is_a_configuration_error(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.of(uri)
    assert caught.value.next_step


@pytest.mark.parametrize("uri", ["http://localhost:8080", "https://a.example/cb", "myapp:/cb", "ftp://localhost:8080"])
def test_an_absolute_uri_may_be_registered(uri: str) -> None:
    check_redirect_uri(uri)


@pytest.mark.parametrize(
    "uri",
    ["", "localhost:8080/a b", "/cb", "a.example/cb", "https://a.example/#", "https://a.example/ cb", "http://user@localhost"],
)
def test_anything_else_may_not(uri: str) -> None:
    with pytest.raises(ConfigError):
        check_redirect_uri(uri)


def test_a_long_uri_is_quoted_up_to_200_characters() -> None:
    for call, quoted in ((check_redirect_uri, "x" * 197 + "..."), (Address.of, "x" * 200)):
        with pytest.raises(ConfigError) as caught:
            call("x" * 300)
        assert f"'{quoted}'" in str(caught.value)


@given(st.text(max_size=60) | st.text(max_size=40).map("http://localhost".__add__))
def test_no_text_raises_anything_else(uri: str) -> None:
    try:
        address = Address.of(uri)
    except ConfigError:
        return
    assert address.host == "localhost" or not uri.startswith("http://localhost")
    assert address.redirect_uri == uri


@pytest.mark.parametrize(
    ("uri", "filled"),
    [
        ("http://127.0.0.1:0/a:0/", "http://127.0.0.1:7/a:0/"),
        ("http://localhost:0", "http://localhost:7"),
        ("http://[0:0:0:0:0:0:0:1]:0?x=:0", "http://[0:0:0:0:0:0:0:1]:7?x=:0"),
        ("HTTP://LOCALHOST:00/CB", "HTTP://LOCALHOST:7/CB"),
    ],
)
def test_only_port_0_changes(uri: str, filled: str) -> None:
    assert Address.of(uri).with_port(7).redirect_uri == filled


@pytest.fixture
def taken_on_v6() -> Iterator[int]:
    with closing(socket.socket(socket.AF_INET6)) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        sock.listen()
        yield sock.getsockname()[1]


def _names(sockets: list[socket.socket]) -> list[tuple[str, int]]:
    names = [sock.getsockname()[:2] for sock in sockets]
    for sock in sockets:
        sock.close()
    return names


def test_localhost_is_both_loopbacks_on_one_port() -> None:
    names = _names(listening_sockets(Address.of("http://localhost:0")))
    assert names[0][0] == "127.0.0.1"
    assert [name[0] for name in names[1:]] in ([], ["::1"])
    assert len({port for _, port in names}) == 1


def test_an_address_is_listened_on_alone() -> None:
    assert [host for host, _ in _names(listening_sockets(Address.of("http://127.0.0.1:0")))] == ["127.0.0.1"]


def test_a_port_taken_on_one_loopback_is_not_shared(taken_on_v6: int) -> None:
    with pytest.raises(ListenError, match=str(taken_on_v6)) as caught:
        listening_sockets(Address.of(f"http://localhost:{taken_on_v6}"))
    assert caught.value.kind == "configuration"
    assert "--port" in caught.value.next_step
    assert "--paste" in caught.value.next_step
    with socket.create_server(("127.0.0.1", taken_on_v6)):
        pass  # the half that could be opened is closed again


def _without(
    family: socket.AddressFamily, monkeypatch: pytest.MonkeyPatch, code: int, times: int = 1000
) -> list[int]:
    """Lets so many binds of that family fail; gives the ports that were tried there, and grows."""
    bind, tried = socket.socket.bind, list[int]()

    def fails(self: socket.socket, address: tuple[str, int]) -> None:
        if self.family == family:
            tried.append(address[1])
            if len(tried) <= times:
                raise OSError(code, "no")
        bind(self, address)

    monkeypatch.setattr(socket.socket, "bind", fails)
    return tried


@pytest.mark.parametrize("code", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_without_ipv6_the_v4_loopback_is_enough(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    _without(socket.AF_INET6, monkeypatch, code)
    assert [host for host, _ in _names(listening_sockets(Address.of("http://localhost:0")))] == ["127.0.0.1"]
    with pytest.raises(ListenError, match="::1"):
        listening_sockets(Address.of("http://[::1]:0"))


@pytest.mark.parametrize("times", [1, 4, 19])
def test_a_free_port_that_is_taken_on_the_other_loopback_is_left(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    tried = _without(socket.AF_INET6, monkeypatch, errno.EADDRINUSE, times)
    names = _names(listening_sockets(Address.of("http://localhost:0")))
    assert {port for _, port in names} == {tried[-1]}
    assert len(tried) == times + 1


@pytest.mark.parametrize(
    ("code", "any_port", "tries"),
    [(errno.EADDRINUSE, True, 20), (errno.EADDRINUSE, False, 1), (errno.EACCES, True, 1), (errno.ENOBUFS, True, 1)],
)
def test_only_a_free_port_that_is_taken_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, unused_port: int, code: int, any_port: bool, tries: int
) -> None:
    tried = _without(socket.AF_INET6, monkeypatch, code)
    with pytest.raises(ListenError):
        listening_sockets(Address.of(f"http://localhost:{0 if any_port else unused_port}"))
    assert len(tried) == tries


@pytest.mark.parametrize("code", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_without_ipv4_the_v6_loopback_is_enough(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    _without(socket.AF_INET, monkeypatch, code)
    assert [host for host, _ in _names(listening_sockets(Address.of("http://localhost:0")))] == ["::1"]


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (errno.EADDRINUSE, "--port"),
        (errno.EACCES, "above 1023"),
        (errno.EPERM, "above 1023"),
        (errno.EADDRNOTAVAIL, "--bind"),
        (errno.EINVAL, "--bind"),
        (errno.ENOBUFS, "--bind"),
    ],
)
def test_each_reason_not_to_listen_has_its_way_out(monkeypatch: pytest.MonkeyPatch, code: int, step: str) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ListenError) as caught:
        listening_sockets(Address.of("http://127.0.0.1:0"))
    assert step in caught.value.next_step
    assert (f": {os.strerror(code)}." in str(caught.value)) == (step == "--bind")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_a_port_that_needs_rights_is_named(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ListenError, match=r"port 80 of 127\.0\.0\.1"):
        listening_sockets(Address.of("http://127.0.0.1"))


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1"):
        listening_sockets(Address.of("http://localhost:0"), bind="192.0.2.1")


@pytest.mark.parametrize("bind", ["::", "::1"])
def test_all_addresses_include_those_of_ipv4_and_the_loopback_of_ipv6_does_not(bind: str, taken_on_v6: int) -> None:
    [sock] = listening_sockets(Address.of("http://localhost:0"), bind=f"[{bind}]")
    with closing(sock):
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == (bind == "::1")


def test_any_port_that_exists_may_be_chosen() -> None:
    with suppress(ListenError):
        _names(listening_sockets(Address.of("http://localhost:0"), 65535))


@pytest.mark.parametrize(("port", "bind"), [(65536, None), (-1, None), (None, "example.com"), (None, "")])
def test_a_place_that_is_none_is_a_configuration_error(port: int | None, bind: str | None) -> None:
    with pytest.raises(ConfigError):
        listening_sockets(Address.of("http://localhost:0"), port, bind)


def test_socket_options_are_those_of_each_system() -> None:
    assert reuse_option("win32") == getattr(socket, "SO_EXCLUSIVEADDRUSE", -5)
    assert {reuse_option(system) for system in ("linux", "darwin", "zos")} == {socket.SO_REUSEADDR}
    assert linger(True, "win32") == b"\x01\0\0\0"  # two shorts (winsock2.h)
    assert {linger(True, system) for system in ("linux", "darwin", "zos")} == {struct.pack("ii", 1, 0)}
