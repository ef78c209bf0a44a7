"""The class that an API client derives from, and one call of it."""

import typing

from ..names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from ..web.json import JsonMap
    from .download import Downloaded
    from .sent_json import is_dataclass_instance
    from .webapi import WebAPI
else:  # for tools, a `__getattr__` would have every misspelt name be there
    __getattr__, __dir__ = _on_demand(
        __name__,
        {
            "..web.json": "JsonMap",
            "download": "Downloaded",
            "webapi": "WebAPI",
            "sent_json": "is_dataclass_instance",
            **dict.fromkeys(("answers", "lazy", "page_walk", "signed_call"), ""),
        },
    )

__all__ = ["Downloaded", "JsonMap", "WebAPI", "is_dataclass_instance"]
