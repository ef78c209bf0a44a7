"""The servers that tests run against: started, paused, killed, started again, and gone with the block."""
from __future__ import annotations

import socket
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.support import servers

pytestmark = pytest.mark.slow


@pytest.mark.posix
@pytest.mark.parametrize("server", [servers.redis, servers.valkey, servers.postgres])
def test_a_server_comes_back_at_its_address_and_leaves_nothing(server: Any) -> None:
    block: AbstractContextManager[servers.Served] = server()
    with block as it:
        it.restart(kill=True)
        it.pause()
        assert not it.is_ready()
        it.resume()
        assert it.is_ready()
        it.restart()
        folder, port = it.folder, it.port
    assert not folder.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.posix
def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(RuntimeError, match="nonsense yes"):
        with servers.redis("--nonsense", "yes"):
            pass
