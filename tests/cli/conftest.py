"""The commands are tried in the same place as the flows."""

from tests.flow.conftest import place

__all__ = ["place"]
