"""Whether this machine has accounts, and we are root, who may act as each of them."""
from __future__ import annotations

import os

import pytest

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
ROOT_ONLY = pytest.mark.skipif(not IS_ROOT, reason="only root may give files away, mount, and act as others")
