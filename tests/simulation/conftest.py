"""What the tests of the simulation share: quiet."""

from collections.abc import Iterator

import pytest

from tests.simulation.quiet import quiet


@pytest.fixture(autouse=True)
def quietly(request: pytest.FixtureRequest) -> Iterator[None]:
    """The tests that run the simulation in this process hear nothing of programs that died."""
    with quiet():
        yield
