"""What a run leaves behind: no finalizer at a moment of its own, no log, no complaint of coroutines cut short.

The rule: what earlier runs left must not change a later one.
"""

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_runs = 0


@contextmanager
def without_collector() -> Iterator[None]:
    """No finalizer runs at a moment that depends on earlier runs; the garbage of some runs is collected between two."""
    global _runs
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        _runs += 1
        if _runs % 10 == 0:
            gc.collect()
        if _runs == 10:
            gc.freeze()  # the copies of the package need not be looked through each time
        if was_on:
            gc.enable()


@contextmanager
def quiet() -> Iterator[None]:
    """Programs that die leave half-run generators, whose end Python reports; and the package logs what it loses."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda report: None
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        gc.collect()
        sys.unraisablehook = hook
        logging.disable(logging.NOTSET)
