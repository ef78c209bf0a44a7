"""nginx as a child of the test, with the configuration of docs/examples."""
from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.servers import free_port

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "nginx.conf"
_MAIN = """
daemon off; pid {folder}/pid; error_log {folder}/log warn; worker_processes 1; {user}
events {{ worker_connections 512; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/1; uwsgi_temp_path {folder}/2; scgi_temp_path {folder}/3;
    {site}
}}
"""


def example(servers: Sequence[str], port: int) -> str:
    """The example with other machines, on a port of loopback, without TLS."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for there, ours in zip(("10.0.0.11:8000", "10.0.0.12:8000"), servers, strict=True):
        assert there in text
        text = text.replace(there, ours)
    text = re.sub(r"listen 443 ssl;", f"listen 127.0.0.1:{port};", text)
    return re.sub(r"ssl_certificate.*;", "", text)


@asynccontextmanager
async def nginx(servers: Sequence[str]) -> AsyncGenerator[tuple[str, Path], None]:
    """Before these two `HOST:PORT`; gives its URL, and its log."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        raise RuntimeError("No nginx here: apt-get install nginx-light")
    with tempfile.TemporaryDirectory(prefix="slyapi-nginx-") as name:
        folder, port = Path(name), free_port()
        text = _MAIN.format(folder=folder, user="user root;" if os.geteuid() == 0 else "", site=example(servers, port))
        (folder / "nginx.conf").write_text(text, encoding="utf-8")
        command = [program, "-p", name, "-e", f"{name}/log", "-c", f"{name}/nginx.conf"]
        process = await asyncio.create_subprocess_exec(*command)
        try:
            await _listening(process, port, folder / "log")
            yield f"http://127.0.0.1:{port}", folder / "log"
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if process.returncode is not None:
                    raise RuntimeError("nginx did not start:\n" + log.read_text()[-2000:]) from None
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
