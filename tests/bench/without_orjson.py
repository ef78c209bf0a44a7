"""`calls` as it is where orjson is not installed: `python -m tests.bench.without_orjson URL`."""

import sys

sys.modules["orjson"] = None  # type: ignore[assignment]

from tests.bench.calls import MODES  # noqa: E402
from tests.bench.driving import drive  # noqa: E402

if __name__ == "__main__":
    drive(MODES)
