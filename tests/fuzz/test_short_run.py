"""Each target of the fuzzer for a moment: its samples, and edits of them. The long run is `python -m tests.fuzz`."""
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.promise import PLANTED, STATE
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.slow

PIECES = [PLANTED.encode(), STATE.encode(), b'"', b"{", b"[" * 400, b"null", b"1e999", b"9" * 40, b"\\ud800", b"\r\n"]
EDITS = st.tuples(st.floats(0, 1), st.integers(0, 30), st.binary(max_size=8) | st.sampled_from(PIECES))


@pytest.mark.parametrize("name", TARGETS)
def test_the_samples_keep_the_promise(name: str) -> None:
    for sample in TARGETS[name].samples:
        TARGETS[name].check(sample)


@pytest.mark.parametrize("name", TARGETS)
def test_edited_samples_keep_the_promise(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=400, derandomize=True, database=None)
    @given(st.sampled_from(target.samples), st.lists(EDITS, max_size=4))
    def run(data: bytes, edits: list[tuple[float, int, bytes]]) -> None:
        for place, cut, piece in edits:
            at = int(place * len(data))
            data = data[:at] + piece + data[at + cut :]
        target.check(data)

    run()
