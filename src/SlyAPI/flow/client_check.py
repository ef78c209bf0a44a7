"""Whether a client file holds values, or what stands for them in instructions. Pure.

The rule: no value is quoted.
"""

import re
from collections.abc import Mapping

from ..errors import CredentialsError

_PLACEHOLDER = re.compile(
    r"<[^<>]*>|\[[^\[\]]*\]|\$?\{+[^{}]*\}+|\.{2,}|…|[xX*]{3,}|todo|tbd|change[-_ ]?me|"
    r"(?:your|insert|enter|paste|put|replace)[-_ ][\w -]*",
    re.IGNORECASE,
)


def placeholders(values: Mapping[str, str | None]) -> list[str]:
    """The keys whose values stand for others, as `YOUR_CLIENT_ID` does."""
    return [key for key, value in values.items() if _PLACEHOLDER.fullmatch((value or "").strip())]


def check_filled_in(name: str, values: Mapping[str, str | None]) -> None:
    """Raises `CredentialsError` where values of the client file `name` are placeholders such as `YOUR_CLIENT_ID`."""
    found = placeholders(values)
    del values  # so that no traceback shows them
    if found:
        what = "are placeholders" if found[1:] else "is a placeholder"
        raise CredentialsError(
            f"{name} is not filled in: {' and '.join(found)} {what}.",
            next_step="Put in what the provider's console shows.",
        )
