"""The sections of docs/performance.md: what each measures, as a table.

The rule: each takes whether it shall be quick, and gives Markdown; how to measure is not decided here.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence

from tests.bench.calls import AT_ONCE, PAGES, SIZE, api_at
from tests.bench.measure import OURS, ROOT, Case, Command, cpu, has_callgrind, instructions, peak, server
from tests.bench.stampede import errors, stampede

MICRO = 1e6
WITHOUT_ORJSON = (sys.executable, "-m", "tests.bench.without_orjson")

SINGLE = {
    "small": ("small GET", 200),
    "params": ("with three parameters", 200),
    "list_param": ("with a list and a number as parameters", 200),
    "new": ("a new client, one call, close", 50),
    "second": ("the first call of a second client", 200),
    "at_once": (f"{AT_ONCE} at once", 4),
    "pages": (f"{PAGES} pages of {SIZE} items, one by one", 20),
    "pages_50": (f"{PAGES} pages of 50 items, one by one", 10),
    "list": (f"{PAGES} pages of {SIZE} items, as a list", 20),
    "big": ("a body of 100 KB", 100),
}
"""What is called, and calls of it a round."""
REFRESHES = {
    "refresh": ("`app.refresh(session, user)`", 1.3),
    "refresh_alone": ("the same without a session", 1.4),
    "refresh_memory": ("`OAuth2`, a user in memory", 1.5),
    "refresh_file": ("`OAuth2`, a user file", 2.5),
    "refresh_sqlite": ("`OAuth2`, a user in SQLite", 3.0),
}
"""What is refreshed, and the goal: times the token request by hand."""
TRANSFERS = {
    "stream": "a body as a stream",
    "download": "a body into a file",
    "upload": "a file as the body",
}
GOALS = {"small": (1.0, 1.03), "params": (1.02, 1.03), "at_once": (1.05, 1.05), "pages": (1.05, 1.05)}
"""Times the instructions, and times the CPU, of the textbook call."""
GOALS["list"] = GOALS["pages"]
COUNTED_WITH_ORJSON = ("small", "pages", "big")
"""Where instructions are counted with orjson too; it takes a while."""

WHO = ("hand", "sly")
"""The two sides of `calls.py`: measured in one process, because two differ by more than what is measured."""

MOST = {"user": "600", "user, auth": "800"}
"""Bytes that each may take, its two tokens included; with a client 1,000."""

PEERS = {
    "SlyAPI 0.6.1": ("slyapi", ["SlyAPI==0.6.1"]),
    "Authlib on httpx": ("authlib", ["authlib", "httpx"]),
    "requests-oauthlib": ("requests_oauthlib", ["requests-oauthlib"]),
    "aiogoogle": ("aiogoogle", ["aiogoogle"]),
    "gidgethub": ("gidgethub", ["gidgethub", "aiohttp"]),
}
"""The mode in `peers.py`, and what is installed for it."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, the first column to the left and the others to the right."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows)]
    return "\n".join(lines)


def calls(quick: bool) -> str:
    """CPU and instructions of one call by hand and by SlyAPI, with and without orjson, and of one signature."""
    workers: dict[str, Command] = {"plain": WITHOUT_ORJSON, "fast": OURS}
    cases = {(by, f"{who}:{mode}"): count for mode, (_, count) in SINGLE.items() for by in workers for who in WHO}
    spent = cpu(workers, cases | {("plain", "sly:sign"): 50_000, ("plain", "hand:sign"): 50_000}, 5 if quick else 25)
    counted: dict[Case, float] = {}
    for by, modes in (("plain", SINGLE), ("fast", COUNTED_WITH_ORJSON)) if has_callgrind() else ():
        once = {mode: max(2, SINGLE[mode][1] // 8) for mode in modes if not quick or mode == "small"}
        asked = {f"{who}:{mode}": count for mode, count in once.items() for who in WHO}
        counted |= {(by, mode): each for mode, each in instructions(workers[by], asked).items()}
    rows: list[list[str]] = []
    for mode, (told, _) in SINGLE.items():
        goals = [f" (goal {goal:.2f})" for goal in GOALS.get(mode, ())] or ["", ""]
        for by, name, (goal, cpu_goal) in (("plain", told, goals), ("fast", "the same with orjson", ["", ""])):
            row = [name, *_compared(*(spent[by, f"{who}:{mode}"] for who in WHO))]
            row[3] += cpu_goal
            if (by, f"sly:{mode}") in counted:
                row += _compared(counted[by, f"hand:{mode}"], counted[by, f"sly:{mode}"], 1e-3)
                row[6] += goal
            rows.append([*row, *[""] * (7 - len(row))])
    head = ["", "by hand, µs", "SlyAPI, µs", "times", "by hand, k instr.", "SlyAPI, k instr.", "times"]
    sign = 1e9 * (spent["plain", "sly:sign"] - spent["plain", "hand:sign"])
    return f"{table(head, rows)}\n\nOne signature on a live token: {sign:.0f} ns (goal: 1,000)."


def refreshes(quick: bool) -> str:
    """CPU and instructions of a token request, and of all that `OAuth2` does for one."""
    modes = [f"{who}:{mode}" for mode in REFRESHES for who in WHO]
    spent = cpu({"plain": WITHOUT_ORJSON}, {("plain", mode): 20 for mode in modes}, 3 if quick else 25)
    counted = instructions(WITHOUT_ORJSON, dict.fromkeys(modes, 20)) if has_callgrind() and not quick else {}
    rows: list[list[str]] = []
    for mode, (name, goal) in REFRESHES.items():
        row = [name, *_compared(*(spent["plain", f"{who}:{mode}"] for who in WHO))]
        if counted:
            row += _compared(counted[f"hand:{mode}"], counted[f"sly:{mode}"], 1e-3)
        row[-1] += f" (goal {goal:.1f})"
        rows.append([*row, *[""] * (7 - len(row))])
    return table(["", "by hand, µs", "SlyAPI, µs", "times", "by hand, k instr.", "SlyAPI, k instr.", "times"], rows)


def transfers(quick: bool) -> str:
    """Seconds of wall time for a large body."""
    size = 1 << (28 if quick else 30)
    command = [sys.executable, "-m", "tests.bench.transfers", str(size), "3"]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    rows: list[list[str]] = []
    for what, (by_hand, ours) in json.loads(ran.stdout).items():
        rates = [f"{size / (1 << 20) / each:,.0f}" for each in (by_hand, ours)]
        rows.append([TRANSFERS[what], *rates, f"{by_hand / ours:.2f} (goal 0.95)"])
    return table([f"{size >> 20:,} MB over loopback", "by hand, MB/s", "SlyAPI, MB/s", "throughput, times"], rows)


def saves(quick: bool) -> str:
    """CPU of a save, client and server together, without the index of token ends and with it."""
    users, count, rounds = (1_000, 500, 2) if quick else (10_000, 5_000, 5)
    command = [sys.executable, "-m", "tests.bench.saves", str(users), str(count), str(rounds)]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    rows = [[store, *_compared(*both)] for store, both in json.loads(ran.stdout).items()]
    return table([f"a save among {users:,} users", "without the index, µs of CPU", "with it, µs of CPU", "times"], rows)


def _compared(by_hand: float, ours: float, unit: float = MICRO) -> tuple[str, str, str]:
    return f"{by_hand * unit:.0f}", f"{ours * unit:.0f}", f"{ours / by_hand:.2f}"


def peers(quick: bool) -> str:
    """The small GET by others, each in an environment of its own, made if it is not there."""
    workers: dict[str, Command] = {"ours": WITHOUT_ORJSON}
    cases: dict[str, Case] = {"bare aiohttp": ("ours", "hand:small"), "SlyAPI": ("ours", "sly:small")}
    versions = dict.fromkeys(cases, "")
    for name, (mode, packages) in PEERS.items():
        python, versions[name] = _environment(name, packages)
        workers[name], cases[name] = (python, "-W", "ignore", "-m", "tests.bench.peers"), (name, mode)
    measured = cpu(workers, dict.fromkeys(cases.values(), 100), 5 if quick else 25)
    spent = {name: measured[case] for name, case in cases.items()}
    bare = spent["bare aiohttp"]
    rows = [[name, f"{each * MICRO:.0f}", f"{each / bare:.2f}", "", "", versions[name]] for name, each in spent.items()]
    if has_callgrind() and not quick:
        counted = [instructions(workers[by], {mode: 30})[mode] for by, mode in cases.values()]
        for row, each in zip(rows, counted, strict=True):
            row[3:5] = f"{each / 1e3:.0f}", f"{each / counted[0]:.2f}"
    return table(["", "µs of CPU", "times", "k instr.", "times", "with"], rows)


def _environment(name: str, packages: list[str]) -> tuple[str, str]:
    place = ROOT / ".tests" / "bench" / name.replace(" ", "-")
    python = place / "bin" / "python"
    if not (place / "made").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True, stdout=sys.stderr)
        (place / "made").touch()
    frozen = subprocess.run([str(python), "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
    at = dict(line.lower().split("==") for line in frozen.split() if "==" in line)
    wanted = [package.partition("==")[0].lower() for package in packages]
    wanted += ["aiohttp"] if "aiohttp" in at and "aiohttp" not in wanted else []
    return str(python), ", ".join(f"{package} {at[package]}" for package in wanted)


def memory(quick: bool) -> str:
    """Bytes of a held user, alone, with its auth, with its client."""
    del quick  # it is over soon
    ran = subprocess.run([sys.executable, "-m", "tests.bench.memory"], cwd=ROOT, check=True, capture_output=True)
    rows = [[name, f"{each:.0f}", MOST.get(name, "650")] for name, each in json.loads(ran.stdout).items()]
    return table(["10,000 held, two tokens included", "bytes each", "goal, at most"], rows)


def growth(quick: bool) -> str:
    """CPU per call by how many are under way, and CPU per item and peak memory by how many are paged."""
    at_once = [1, 10, 100, 1000]
    cases: dict[Case, int] = {
        ("sly", f"{who}:at_once_{count}"): max(1, 500 // count) for count in at_once for who in WHO
    }
    spent = cpu({"sly": WITHOUT_ORJSON}, cases, 3 if quick else 10)
    rows: list[list[str]] = []
    for count in at_once:
        by_hand, ours = (spent["sly", f"{who}:at_once_{count}"] / count for who in WHO)
        rows.append([f"{count:,}", *_compared(by_hand, ours)])
    told = table(["calls at once", "by hand, µs of CPU a call", "SlyAPI, µs of CPU a call", "times"], rows)
    return f"{told}\n\n{_pages(quick)}"


def _pages(quick: bool) -> str:
    items = [10, 100, 1000, 10_000] if quick else [10, 100, 1000, 10_000, 100_000]
    cases = {("sly", f"sly:items_{count}"): max(1, 1000 // count) for count in items}
    spent = cpu({"sly": WITHOUT_ORJSON}, cases, 2 if quick else 5)
    rows: list[list[str]] = []
    with server() as url:
        asyncio.run(_walk(url, 10))
        for count in items:
            most = peak(lambda count=count: asyncio.run(_walk(url, count)))  # type: ignore[misc]
            each = spent["sly", f"sly:items_{count}"] / count
            rows.append([f"{count:,}", f"{each * MICRO:.1f}", f"{most / 1024:.0f}"])
    return table(["items, ten a page", "µs of CPU an item", "peak memory, KiB"], rows)


async def _walk(url: str, items: int) -> None:
    async with api_at(url) as api:
        async for _ in api.paginated("/pages", {"size": "10", "last": str(items // 10)}):
            pass


def stampedes(quick: bool) -> str:
    """Many calls at once on an expired token."""
    rows: list[list[str]] = []
    with server() as url:
        for count in (100, 1000):
            told = asyncio.run(stampede(url, count, 3 if quick else 10))
            failed, kinds, asked = asyncio.run(errors(url, count))
            walls = [f"{1e3 * wall:.0f}" for wall in (told.live, told.token_request, told.expired)]
            refused = f"{failed:,} fail, {kinds} error, {asked} token request"
            rows.append([f"{count:,}", *walls, f"{told.ratio:.2f} (goal 1.10)", str(told.asked), refused])
    head = ["calls at once", "on a live token, ms", "a token request, ms", "on an expired one, ms", "times both"]
    return table([*head, "token requests", "if it is refused"], rows)
