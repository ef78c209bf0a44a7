"""A provider to practise on and to test against; it shares no code with the client."""

import typing

from ..names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from .clock import Clock
    from .endpoint import Seen
    from .features import GRANT_TYPES
    from .provider import SCOPES, PracticeProvider, keep, kept_provider
else:  # pytest loads `pytest_plugin`, and this package with it, at each start
    __getattr__, __dir__ = _on_demand(
        __name__,
        {
            "clock": "Clock",
            "endpoint": "Seen",
            "features": "GRANT_TYPES",
            "provider": "SCOPES PracticeProvider keep kept_provider",
        },
    )

__all__ = ["GRANT_TYPES", "SCOPES", "Clock", "PracticeProvider", "Seen", "keep", "kept_provider"]
