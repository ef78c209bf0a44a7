"""redis-py leaves connections to nodes that were replaced, or did not answer in time, to the garbage collector.

The rule: they are collected after each test here, without a word, and not during a later test.
"""
from __future__ import annotations

import gc
import sys
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    before, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    try:
        return (yield)
    finally:
        gc.collect()
        sys.unraisablehook = before
