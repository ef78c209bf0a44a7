"""Breaks the code one operator at a time and looks whether the tests notice: `python tests/mutation.py [MODULE...]`.

cosmic-ray makes the changes, in a copy of the checkout as git has it at HEAD; each is tried with the tests that are
the module's own, in a fork of the pytest that has collected them: a change within a function replaces the code of that
function. What survives so, and what changes at import, is tried again with everything imported anew. Tests run in the
order of their time, as most changes fail in a short one. Ends with a table, and leaves the changes that no test noticed
in `.tests/mutation/MODULE.diff`. Not in CI: it takes some minutes a module.
"""
from __future__ import annotations

import argparse
import ast
import difflib
import gc
import importlib
import inspect
import itertools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import filterfalse
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
SURVIVORS = ROOT / ".tests" / "mutation"
PATIENCE = 300.0
"""Seconds after which tests that wait for what will not come count as failed; with a change, three times the usual."""
MEMORY = 4 << 30
"""Bytes after which a loop that no longer ends gets no more, and the rest of the machine lives on."""
REFRESH = [
    "tests/oauth2/test_signer_refresh.py",
    "tests/oauth2/test_signer_edges.py",
    "tests/oauth2/test_signer_keeps.py",
    "tests/oauth2/test_signer_superseded.py",
    "tests/oauth2/test_signer_shared.py",
    "tests/oauth2/test_signer_stampede.py",
    "tests/oauth2/test_for_resource.py",
    "tests/oauth2/test_refused_refresh.py",
    "tests/oauth2/test_remembered.py",
    "tests/oauth2/test_callers_session.py",
    "tests/oauth2/test_grant_again.py",
    "tests/oauth2/test_login.py",
    "tests/oauth2/test_keep_fresh.py",
    "tests/web/test_events.py",
    "tests/security/test_secrets_of_own_stores.py",
    "tests/simulation/test_orders.py",
    "tests/simulation/test_found.py",
]
TESTS_OF = {
    "oauth2/messages/token_endpoint": [
        "tests/oauth2/test_token_endpoint.py",
        "tests/oauth2/test_token_endpoint_refusals.py",
        "tests/oauth2/test_ended_or_passing.py",
        "tests/oauth2/test_token_endpoint_hostile.py",
    ],
    "tokens/user": ["tests/tokens/test_user.py", "tests/oauth2/test_token_endpoint.py", "tests/oauth2/test_subject.py"],
    "tokens/user_json": ["tests/tokens/test_user.py", "tests/oauth2/test_token_endpoint.py"],
    "json_file/__init__": ["tests/test_json_file.py", "tests/stores/test_file.py", "tests/webapi/test_download.py"],
    "stores/file": [
        "tests/stores/test_file.py",
        "tests/stores/test_contract.py::TestFileStore",
        "tests/stores/test_index.py",
        "tests/security/test_secrets_of_own_stores.py",
    ],
    "stores/file_lock": ["tests/stores/test_file_lock.py"],
    "oauth2/signers/signer": [
        "tests/oauth2/test_signer.py",
        "tests/oauth2/test_signer_refresh.py",
        "tests/oauth2/test_signer_edges.py",
        "tests/oauth2/test_dpop.py",
        "tests/oauth2/test_revocation.py",
        "tests/oauth2/test_for_resource.py",
        "tests/oauth2/test_profile.py",
        "tests/oauth2/test_grant_again.py",
        "tests/oauth2/test_signer_superseded.py",
        "tests/security/test_secrets_of_own_stores.py",
    ],
    "oauth2/renewal/flight": REFRESH,
    "oauth2/renewal/callers": REFRESH,
    "oauth2/renewal/state": REFRESH,
    "oauth2/renewal/holder": REFRESH,
    "oauth2/renewal/failures": REFRESH,
    "redirect/loopback": ["tests/redirect/test_loopback.py"],
    "redirect/loopback_http": ["tests/redirect/test_loopback_http.py"],
    "redirect/loopback_address": ["tests/redirect/test_loopback_address.py", "tests/redirect/test_loopback.py"],
}
MOST = 0.05
"""Which share of a module's changes may survive."""
PYTEST = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
PYTEST += ["--hypothesis-profile=few"]


def main() -> int:
    """The modules named, or all; 1 where too many survived in one of them, 2 where tests fail without any change."""
    parser = argparse.ArgumentParser(prog="python tests/mutation.py", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--every", type=int, default=1, help="try each N-th change only (default: all)")
    parser.add_argument("--processes", type=int, default=2, help="that share the changes (default: 2); tests also wait")
    parser.add_argument("--again", action="store_true", help="try only what survived last time, in the same source")
    given = parser.parse_args()
    SURVIVORS.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[int, int]] = []
    import_what_is_not_ours()
    with ExitStack() as stack:
        copies = [stack.enter_context(copy_of_head()) for _ in range(given.processes)]
        for module in given.modules or TESTS_OF:
            begun = time.monotonic()
            again = survivors_of(module) if given.again else None
            Trials.diff(module).write_text("", encoding="utf-8")
            source = Path(copies[0], "src", "SlyAPI", f"{module}.py").read_text(encoding="utf-8")
            changes = list(enumerate(mutants(source), 1))[:: given.every]
            parts = [changes[first :: given.processes] for first in range(given.processes)]
            trials = [Trials(module, copy, part, again) for copy, part in zip(copies, parts, strict=True)]
            found = [wait() for wait in [in_fork(trial.run) for trial in trials]]
            if None in found:
                say(f"{module}: its tests fail as they are")
                return 2
            tried, survived = (sum(figures) for figures in zip(*filter(None, found), strict=True))
            say(row(module, tried, survived, time.monotonic() - begun))
            rows.append((tried, survived))
    say(row("total", sum(tried for tried, _ in rows), sum(survived for _, survived in rows)))
    return 1 if any(survived > MOST * tried for tried, survived in rows) else 0


@contextmanager
def copy_of_head() -> Iterator[str]:
    """A folder with the checkout as git has it."""
    with tempfile.TemporaryDirectory() as copy:
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", copy], input=archive.stdout, check=True)
        yield copy


def survivors_of(module: str) -> set[int]:
    """The numbers of the changes that survived last time."""
    return set(map(int, re.findall(r"^\+\+\+.*\((\d+)\)$", Trials.diff(module).read_text("utf-8"), re.M)))


def in_fork(work: Callable[[], tuple[int, int] | None]) -> Callable[[], tuple[int, int] | None]:
    """What waits for the result of `work` in a child, in which pytest imports what the next module imports anew."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        found = None
        silence()
        try:
            found = work()
        finally:
            os.write(theirs, json.dumps(found).encode())
            os._exit(0)
    os.close(theirs)

    def result() -> tuple[int, int] | None:
        with os.fdopen(ours) as answer:
            text = answer.read()
        os.waitpid(child, 0)
        value = json.loads(text or "null")
        return None if value is None else (value[0], value[1])

    return result


class Trials:
    """A part of one module's changes, as a plugin of the pytest that has collected its tests: tried in forks of it.

    `copy` is the checkout in which they are made, `part` the changed sources with their numbers, `again` the numbers of
    those to try at all.
    """

    def __init__(self, module: str, copy: str, part: Sequence[tuple[int, str]], again: set[int] | None) -> None:
        self.module, self.copy, self.part, self.again = module, copy, part, again
        self.path = Path(copy, "src", "SlyAPI", f"{module}.py").resolve()
        self.found: tuple[int, int] | None = None

    @staticmethod
    def diff(module: str) -> Path:
        """The changes of a module that survived, each with its number."""
        return SURVIVORS / f"{module.replace('/', '.')}.diff"

    def run(self) -> tuple[int, int] | None:
        """How many changes were tried, and how many survived; None where the tests fail without any."""
        settle_in(self.copy)
        pytest: Any = importlib.import_module("pytest")
        pytest.main([*PYTEST, "--capture=no", *TESTS_OF[self.module]], plugins=[self])
        return self.found

    def pytest_runtestloop(self, session: Any) -> bool:
        sys.dont_write_bytecode = False
        usual = UsualTimes(Path(self.copy, "times.json"))
        if session.items and passes(lambda: usual.run_and_time(session)):
            begun = time.monotonic()
            usual.pytest_collection_modifyitems(session.items)
            session.config.pluginmanager.register(usual)
            if passes(lambda: run_anew(self.module, usual)):
                sys.dont_write_bytecode = True  # from here on: two changes in a second would look alike to the cache
                self.found = self._try_all(session, usual, 10 + 3 * (time.monotonic() - begun))
        return True

    def _try_all(self, session: Any, usual: UsualTimes, patience: float) -> tuple[int, int]:
        source, tried, survived = self.path.read_text(encoding="utf-8"), 0, 0
        functions = [found for found in gc.get_objects() if isinstance(found, FunctionType)]
        ours = [found for found in functions if found.__code__.co_filename == str(self.path)]
        gc.freeze()  # a fork copies no memory only for being looked at
        with open(self.diff(self.module), "a", encoding="utf-8") as diff:
            for number, mutant in self.part:
                tried += 1
                if self.again is not None and number not in self.again:
                    continue
                changed = changed_functions(source, mutant, str(self.path))
                if changed is not None:
                    places = [(found, changed.get(place_of(found.__code__))) for found in ours]
                    new = [(function, code) for function, code in places if code is not None]
                    if not passes(partial(run_items, session, new), patience):
                        continue
                self.path.write_text(mutant, encoding="utf-8")
                if passes(lambda: run_anew(self.module, usual), patience):
                    survived += 1
                    lines = source.splitlines(keepends=True), mutant.splitlines(keepends=True)
                    diff.writelines(difflib.unified_diff(*lines, self.module, f"{self.module} ({number})", n=1))
                    diff.flush()
                self.path.write_text(source, encoding="utf-8")
        return tried, survived


class UsualTimes:
    """Sorts the tests by their time, which the first run of them leaves in a file; ends one that takes far longer."""

    def __init__(self, times: Path) -> None:
        self.times = times
        self.took: dict[str, float] = {}

    def run_and_time(self, session: Any) -> int:
        took: dict[str, float] = {}

        class Timer:
            @staticmethod
            def pytest_runtest_logreport(report: Any) -> None:
                took[report.nodeid] = took.get(report.nodeid, 0) + report.duration

        session.config.pluginmanager.register(Timer())
        code = run_items(session)
        self.times.write_text(json.dumps(took), encoding="utf-8")
        return code

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        took = json.loads(self.times.read_text("utf-8"))
        items.sort(key=lambda item: took.get(item.nodeid, 0))
        self.took = took

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        signal.setitimer(signal.ITIMER_REAL, 4 + 5 * self.took.get(nodeid, 0))  # whose signal ends the process


Place = tuple[str, int]
"""A function's qualified name, and its first line."""


def changed_functions(source: str, mutant: str, path: str) -> dict[Place, CodeType] | None:
    """The functions that differ in a mutant; None where what runs at import differs, which needs an import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `is` with a literal
        before, after = functions_of(compile(source, path, "exec")), functions_of(compile(mutant, path, "exec"))
    changed = {place: code for place, code in after.items() if before.get(place) != code}
    bodies = [code for code in changed.values() if not code.co_flags & inspect.CO_OPTIMIZED]  # of modules and classes
    at_import = any(own_differs(before, code) for code in bodies) or before.keys() != after.keys()
    return None if at_import else changed


def place_of(code: CodeType) -> Place:
    return code.co_qualname, code.co_firstlineno


def functions_of(code: CodeType) -> dict[Place, CodeType]:
    """The code of a module, and all that is in it."""
    found = {place_of(code): code}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found |= functions_of(inner)
    return found


def own_differs(before: dict[Place, CodeType], code: CodeType) -> bool:
    """Whether a body differs by more than by the functions in it."""
    other = before.get(place_of(code))

    def own(body: CodeType) -> object:
        consts = tuple("" if isinstance(const, CodeType) else repr(const) for const in body.co_consts)
        return body.co_code, consts, body.co_names, body.co_varnames

    return other is None or own(other) != own(code)


def run_items(session: Any, changed: Sequence[tuple[FunctionType, CodeType]] = ()) -> int:
    """The exit code of the collected tests, with other code in some functions."""
    for function, code in changed:
        if len(code.co_freevars) != len(function.__code__.co_freevars):
            return 0  # decided by an import
        function.__code__ = code
    for item, following in itertools.zip_longest(session.items, session.items[1:]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


def run_anew(module: str, usual: UsualTimes) -> int:
    """The exit code of the module's tests, with everything of ours imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("SlyAPI", "tests", "conftest")]:
        del sys.modules[name]
    pytest: Any = importlib.import_module("pytest")
    return int(pytest.main([*PYTEST, *TESTS_OF[module]], plugins=[usual]))


def row(name: str, tried: int, survived: int, seconds: float = 0) -> str:
    share = 100 * survived / max(1, tried)
    figures = f"{tried:5} mutants {tried - survived:5} killed {survived:4} survived {share:5.1f} %"
    return f"{name:24}{figures} {seconds:6.0f} s"


def settle_in(copy: str) -> None:
    """Makes this process one that tests the copy."""
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": f"{copy}/src", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.path[:0] = [f"{copy}/src", copy]


def import_what_is_not_ours() -> None:
    """Imports what every test needs, once for all processes."""
    for module in ("pytest", "hypothesis.strategies", "aiohttp.web"):
        importlib.import_module(module)
    slow: Any = HealthCheck.too_slow
    few = settings(deadline=None, suppress_health_check=[slow], derandomize=True, max_examples=10)
    settings.register_profile("few", few)


def mutants(source: str) -> Iterator[str]:
    """The source with one change of cosmic-ray's, for every change that makes other code of it.

    `==` becomes `!=` alone, and `is` becomes `is not`, as with mutmut: an order of tokens and states means nothing.
    """
    plugins: Any = importlib.import_module("cosmic_ray.plugins")
    mutate_code: Any = importlib.import_module("cosmic_ray.mutating").MutationVisitor.mutate_code
    seen = {"", code_of(source)}
    for name in filterfalse(_WITHOUT_MEANING.search, plugins.operator_names()):
        operator = plugins.get_operator(name)
        for occurrence in itertools.count() if not operator.arguments() else ():
            try:
                mutant = mutate_code(source, operator(), occurrence)
            except AttributeError:  # it cannot replace `except package.Error`
                continue
            if mutant is None:
                break
            code = code_of(mutant)
            if code not in seen:
                seen.add(code)
                yield mutant


_WITHOUT_MEANING = re.compile(r"ComparisonOperator_(Eq_(?!NotEq)|NotEq_(?!Eq)|Is_(?!IsNot)|IsNot_(?!Is$))")

_FLAGS = r"[^-*/%<>&]*\b(?:O_|LOCK_|NO_)[^-*/%<>&]*"
"""The system's flags, put together."""


def code_of(source: str) -> str:
    """The code as far as a change of it can mean something; "" for what is not Python.

    Left out are annotations, whose `|` does not run, and four changes that no test should hold: a
    patience or a size that moves by one, `+` and `^` for the `|` of the system's flags, imports for annotations, and
    whether an argument is by keyword alone.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arguments):
            node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
            node.defaults = [*node.defaults, *(default for default in node.kw_defaults if default)]
            node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.test = ast.Constant(False)
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.Constant) and is_limit(node.value):
            node.value = "a limit"
        if isinstance(node, ast.BinOp) and re.fullmatch(_FLAGS, flags := ast.unparse(node)):
            node.left, node.op = ast.Constant(" ".join(re.findall(r"\w+", flags))), ast.BitOr()
            node.right = ast.Constant(0)
    return ast.dump(tree)


def is_limit(value: object) -> bool:
    """Whether a number is one of seconds or bytes or so: not 0 to 4, and no HTTP status; 512 is a size."""
    if isinstance(value, float):
        return value != 0
    return isinstance(value, int) and (4 < value < 100 or value >= 600 or 511 <= value <= 513)


def passes(run: Callable[[], int], patience: float = PATIENCE) -> bool:
    """Whether `run`, tests in a fork of this process, gives 0 in time."""
    child = os.fork()
    if not child:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        silence()
        code = 1
        try:
            code = run()
        finally:  # whatever it was, it must not go on as a second parent
            os._exit(code)
    end, code = time.monotonic() + patience, -1
    while code < 0 and time.monotonic() < end:
        time.sleep(0.01)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status) & 0xFF
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # and what its tests started
    if code < 0:
        os.waitpid(child, 0)
    return code == 0


def silence() -> None:
    """Sends what this process prints nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
