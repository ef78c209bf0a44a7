"""Real Redis, Valkey and PostgreSQL servers for tests and benchmarks, on free ports of loopback.

    with redis() as server:
        store = RedisStore(server.url)
        server.restart()

The rule: a server that cannot be started is an error that names the package, never a skipped test; its data
lies in a folder that goes with the block.
"""
from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

PASSWORD = "served-5EC9E7"
"""Of every server here; a search for secrets looks for it."""
STARTS_WITHIN = 60.0
STOPS_WITHIN = 30.0

S = TypeVar("S", bound="Served")


class Served:
    """A server: `url` (a DSN for PostgreSQL) stays the same however often it stops and starts."""

    gentle = signal.SIGTERM

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.process: subprocess.Popen[Any] | None = None

    url: str

    def command(self) -> list[str]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Returns when it answers."""
        with open(self.folder / "log", "ab") as log:
            process: subprocess.Popen[Any] = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **as_nobody()
            )
        self.process = process
        end = time.monotonic() + STARTS_WITHIN
        while not self.is_ready():
            if process.poll() is not None or time.monotonic() > end:
                self.stop(kill=True)
                raise RuntimeError(f"{self.command()[0]} did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> None:
        """Ends it in order, or as a crash does; no error where it has ended."""
        if self.process is None:
            return
        self.resume()
        self.signal(signal.SIGKILL if kill else self.gentle)
        try:
            self.process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()
        self.process = None

    def restart(self, *, kill: bool = False) -> None:
        self.stop(kill=kill)
        self.start()

    def pause(self) -> None:
        """It hangs: connections stay open, and nothing is answered until `resume`."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)


class RedisServer(Served):
    """Redis or Valkey; keeps what it is told on disk before it answers (`appendfsync always`)."""

    def __init__(self, folder: Path, port: int, program: str, *options: str) -> None:
        super().__init__(folder, port)
        self.program = program
        self.options = options
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"

    def command(self) -> list[str]:
        return [
            *(self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "always", "--requirepass", PASSWORD),
            *self.options,
        ]

    def is_ready(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.settimeout(1)
            connection.sendall(f"AUTH {PASSWORD}\r\nPING\r\n".encode())
            answer = b""
            while b"PONG" not in answer and (more := connection.recv(1000)):
                answer += more
            return b"+PONG" in answer
        return False


class PostgresServer(Served):
    """PostgreSQL of Debian's newest version here, with the account `postgres` and its password."""

    gentle = signal.SIGINT  # fast shutdown: does not wait for clients

    def __init__(self, folder: Path, port: int, bin: Path, *options: str) -> None:
        super().__init__(folder, port)
        self.bin = bin
        self.options = options
        self.url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port}/postgres"

    def initialize(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        subprocess.run(
            [
                *(str(self.bin / "initdb"), "-D", str(self.folder / "data"), "-U", "postgres", "--no-sync"),
                *("--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C.UTF-8"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            **as_nobody(),
        )

    def command(self) -> list[str]:
        return [
            *(str(self.bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
            *(part for option in self.options for part in ("-c", option)),
        ]

    def is_ready(self) -> bool:
        asked = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "1"]
        return subprocess.run(asked, check=False).returncode == 0

    def signal(self, number: int) -> None:
        """The children too, where they would go on: a paused server answers nothing, a killed one leaves nobody."""
        assert self.process is not None
        if number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL):
            for child in children(self.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, number)
        super().signal(number)

    def start(self) -> None:
        """Also after a crash, whose last process may hold the shared memory for a moment."""
        for _ in range(50):
            try:
                return super().start()
            except RuntimeError as error:
                if "shared memory block" not in str(error):
                    raise
                time.sleep(0.1)
        super().start()


class PgBouncer(Served):
    """A pooler before a PostgreSQL server, in transaction mode and without prepared statements: its strictest."""

    gentle = signal.SIGINT

    def __init__(self, folder: Path, port: int, program: str, server: PostgresServer) -> None:
        super().__init__(folder, port)
        self.program = program
        self.url = server.url.replace(f":{server.port}/", f":{port}/")
        (folder / "accounts").write_text(f'"postgres" "{PASSWORD}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {folder}/accounts\n"
            "pool_mode = transaction\ndefault_pool_size = 3\nmax_prepared_statements = 0\n"
        )

    def command(self) -> list[str]:
        return [self.program, str(self.folder / "pgbouncer.ini")]

    def is_ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def pgbouncer(server: PostgresServer) -> Iterator[PgBouncer]:
    """A pooler that lends three connections of `server` to all its clients."""
    program = _program("pgbouncer")
    with _folder() as folder, _started(PgBouncer(folder, free_port(), program, server)) as it:
        yield it


@contextmanager
def redis(*options: str) -> Iterator[RedisServer]:
    """A Redis server; `options` as on its command line (`"--replicaof", "127.0.0.1 6379"`)."""
    with _running("redis-server", options) as server:
        yield server


@contextmanager
def valkey(*options: str) -> Iterator[RedisServer]:
    """A Valkey server."""
    with _running("valkey-server", options) as server:
        yield server


AT_ONCE = ("--repl-diskless-sync-delay", "0")
"""Replicas need not wait for others to copy the data."""


class RedisGroup:
    """Several Redis servers that replace each other: `url` names them all."""

    def __init__(self, url: str, servers: list[RedisServer]) -> None:
        self.url, self.servers = url, servers
        self.watchers: Sequence[RedisServer] = []

    def ask(self, server: RedisServer, *command: str) -> str:
        """What `redis-cli` prints, of the group's first server if that is up."""
        cli = [_program("redis-cli"), "-p", str(server.port), "-a", PASSWORD, "--no-auth-warning", *command]
        return subprocess.run(cli, capture_output=True, text=True, check=False, timeout=60).stdout

    def masters(self) -> list[RedisServer]:
        """The servers that are up and call themselves master."""
        up = [server for server in self.servers if server.process is not None]
        return [server for server in up if self.ask(server, "ROLE").startswith("master")]


@contextmanager
def redis_cluster(masters: int = 3, replicas: int = 0, *options: str) -> Iterator[RedisGroup]:
    """A Redis cluster, each master with so many replicas, which replace one that is away for a second and a half."""
    away = "1500" if replicas else "15000"  # without one, a server that a busy machine makes wait is not given up
    own = ("--cluster-enabled", "yes", "--cluster-node-timeout", away, "--masterauth", PASSWORD, *AT_ONCE, *options)
    with ExitStack() as stack:
        nodes = [stack.enter_context(_running("redis-server", own)) for _ in range(masters * (1 + replicas))]
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        group = RedisGroup(f"redis+cluster://:{PASSWORD}@{','.join(addresses)}", nodes)
        group.ask(nodes[0], "--cluster", "create", *addresses, "--cluster-replicas", str(replicas), "--cluster-yes")
        _until(lambda: all("cluster_state:ok" in group.ask(node, "CLUSTER", "INFO") for node in nodes))
        online = "INFO", "replication"
        _until(lambda: sum(group.ask(node, *online).count("state=online") for node in nodes) == masters * replicas)
        yield group


@contextmanager
def redis_sentinel(replicas: int = 2, *options: str) -> Iterator[RedisGroup]:
    """A Redis master with replicas, watched by three sentinels, for whom a second away is away: service `grants`."""
    with ExitStack() as stack:
        own = ("--masterauth", PASSWORD, *AT_ONCE, *options)
        nodes = [stack.enter_context(_running("redis-server", own))]
        follow = (*own, "--replicaof", f"127.0.0.1 {nodes[0].port}")
        nodes += [stack.enter_context(_running("redis-server", follow)) for _ in range(replicas)]
        watchers = []
        for _ in range(3):
            watcher = Sentinel(stack.enter_context(_folder()), free_port(), _program("redis-server"), nodes[0])
            watchers.append(stack.enter_context(_started(watcher)))
        hosts = ",".join(f"127.0.0.1:{watcher.port}" for watcher in watchers)
        group = RedisGroup(f"redis+sentinel://:{PASSWORD}@{hosts}/grants?sentinel_password={PASSWORD}", nodes)
        group.watchers = watchers
        _until(lambda: group.ask(nodes[0], "INFO", "replication").count("state=online") == replicas)
        known = f"slaves={replicas},sentinels=3"
        _until(lambda: all(known in group.ask(watcher, "INFO", "sentinel") for watcher in watchers))
        yield group


class Sentinel(RedisServer):
    """Watches a master under the name `grants`."""

    def __init__(self, folder: Path, port: int, program: str, master: RedisServer) -> None:
        super().__init__(folder, port, program)
        (folder / "sentinel.conf").write_text(
            f"port {port}\nbind 127.0.0.1\nrequirepass {PASSWORD}\n"
            f"sentinel monitor grants 127.0.0.1 {master.port} 2\nsentinel auth-pass grants {PASSWORD}\n"
            "sentinel down-after-milliseconds grants 1000\nsentinel failover-timeout grants 4000\n"
        )
        if account := as_nobody():
            os.chown(folder / "sentinel.conf", account["user"], account["group"])

    def command(self) -> list[str]:
        return [self.program, str(self.folder / "sentinel.conf"), "--sentinel"]


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while not true():
        assert time.monotonic() < end, "the servers did not find each other in time"
        time.sleep(0.1)


@contextmanager
def postgres(*options: str) -> Iterator[PostgresServer]:
    """A PostgreSQL server; `options` as in its configuration file (`"max_connections=20"`)."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        raise RuntimeError("No PostgreSQL here: apt-get install postgresql")
    with _folder() as folder:
        server = PostgresServer(folder, free_port(), found[-1].parent, *options)
        server.initialize()
        with _started(server):
            yield server


@contextmanager
def _running(name: str, options: tuple[str, ...]) -> Iterator[RedisServer]:
    program, port = _program(name), free_port()
    while "--cluster-enabled" in options and not 51_000 <= port <= 55_535:  # 10,000 above is no port of Linux's choice
        port = free_port()
    with _folder() as folder, _started(RedisServer(folder, port, program, *options)) as server:
        yield server


def _program(name: str) -> str:
    program = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/bin:/usr/local/bin:/usr/sbin")
    if program is None:
        raise RuntimeError(f"No {name} here: apt-get install {name}")
    return program


@contextmanager
def _started(server: S) -> Iterator[S]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder of the account that the servers run as; pytest's own are closed to it."""
    with tempfile.TemporaryDirectory(prefix="slyapi-server-", ignore_cleanup_errors=True) as name:
        account = as_nobody()
        if account:
            os.chown(name, account["user"], account["group"])
        yield Path(name)


def as_nobody() -> dict[str, Any]:
    """For `Popen`: an account without rights, where we are root, as whom PostgreSQL does not run."""
    if os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            account = pwd.getpwnam(name)
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise RuntimeError("Neither an account postgres nor nobody, to run servers as.")


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that run (proc(5))."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
