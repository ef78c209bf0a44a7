"""What to say where no browser was opened: why, and how the user reaches the listener with another one. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..redirect.browser import NoBrowser, how_to_open, ssh_hint


@dataclass(frozen=True)
class Machine:
    """The machine that the program runs on: environment, `sys.platform`, and the text of /proc/version."""

    environ: Mapping[str, str] = field(repr=False)
    platform: str
    proc_version: str = ""


def ways_to_a_browser(
    machine: Machine, port: int, port_asked: int | None, bind: str | None, *, wanted: bool
) -> list[str]:
    """Lines for the user; `port` is the listener's, `port_asked` and `bind` are from the flags.

    `wanted` is False for `--no-browser`.
    """
    environ = {name: value for name, value in machine.environ.items() if wanted or name != "BROWSER"}
    how = how_to_open(environ, machine.platform, machine.proc_version)
    why, reason = (how.text, how.reason) if isinstance(how, NoBrowser) else ("none could be started.", "")
    lines = [f"No browser was opened: {why if wanted else 'as asked (--no-browser).'}"]
    if reason == "ssh":
        lines.append("To use the browser of your own machine, run there, before you open the page:")
        lines += ["", f"    {ssh_hint(environ, port)}", ""]
    elif not reason and "microsoft" in machine.proc_version.lower():
        lines.append(
            "This is WSL: open the page in a browser of Windows, which reaches localhost here. If the last page does "
            "not load there, run this command again with:"
        )
        lines += ["", "    --paste", ""]
    elif reason == "container" and bind is None:
        port = port_asked or 8080  # a free port chosen now is not known before the next start
        lines.append("To use a browser outside, start the container and this command again with:")
        lines += ["", f"    -p 127.0.0.1:{port}:{port}", f"    --bind 0.0.0.0 --port {port}", ""]
    return lines
