"""HTTP messages and JSON as plain data, and which parts of them may be printed."""

import typing

from ..names import on_demand as _on_demand

if typing.TYPE_CHECKING:
    from ..errors import ApiError
    from .challenges import Challenge
    from .json import JsonMap, JsonMapCo, JsonScalar, JsonType, JsonTypeCo, read_json
    from .messages import Method, ParamsDict, ParamType, Reply, Request
else:  # for tools, a `__getattr__` would have every misspelt name be there
    __getattr__, __dir__ = _on_demand(
        __name__,
        {
            "..errors": "ApiError",
            "challenges": "Challenge",
            "json": "JsonMap JsonMapCo JsonScalar JsonType JsonTypeCo read_json",
            "messages": "Method ParamType ParamsDict Reply Request",
            **dict.fromkeys(("events", "masking", "params", "urls"), ""),
        },
    )

__all__ = [
    "ApiError",
    "Challenge",
    "JsonMap",
    "JsonMapCo",
    "JsonScalar",
    "JsonType",
    "JsonTypeCo",
    "Method",
    "ParamType",
    "ParamsDict",
    "Reply",
    "Request",
    "read_json",
]
