"""One user's grant by OAuth 1: a token and its secret, which do not expire by themselves; JSON in and out.

The rule: neither of the two ever prints.
"""

from dataclasses import dataclass
from typing import Any, Self

from ..errors import CredentialsError
from ..json_file import StrPath, display_path, read_json_file
from ..tokens.recognise import recognise


@dataclass(repr=False)
class OAuth1User:
    """One user's token credentials (RFC 5849 §2.3). `dataclasses.asdict` gives the file format.

    Both empty, in code: an API that asks for the client's signature alone.
    """

    __module__ = "SlyAPI.oauth1"

    key: str
    secret: str

    def __repr__(self) -> str:
        return "OAuth1User('***', '***')"

    @classmethod
    def from_json_file(cls, path: StrPath) -> Self:
        """The user in a file. Raises `CredentialsNotFoundError` or `CredentialsError`."""
        return cls.from_json_obj(read_json_file(path), display_path(path))

    @classmethod
    def from_json_obj(cls, obj: Any, name: str = "The user JSON") -> Self:
        """The user in our own JSON, or in the words of RFC 5849 §2.3, further keys beside them.

        `name` is for messages. Raises `CredentialsError`, which says what the object is instead.
        """
        found, problem = _members(obj)
        del obj  # so that no traceback shows it
        if found is None:
            raise CredentialsError(f"{name} does not hold a user's token: {problem} {_HINT}")
        return cls(*found)


@dataclass(repr=False)
class TemporaryCredentials:
    """What stands for one grant while the person is asked (RFC 5849 §2.1)."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return "TemporaryCredentials('***', '***')"


_HINT = "Make one with: python -m SlyAPI grant oauth1"


def _members(obj: Any) -> tuple[tuple[str, str] | None, str]:
    """Token and secret, or what is wrong with the object."""
    if not isinstance(obj, dict):
        return None, "it is not a JSON object."
    pairs = [("key", "secret"), ("oauth_token", "oauth_token_secret")]
    names = next((pair for pair in pairs if obj.keys() >= {*pair}), None)
    if names is None or "request_uri" in obj or "authorize_uri" in obj:
        return None, f"it is {recognise(obj)}."
    for name in names:
        if not isinstance(obj[name], str) or not obj[name].isprintable():
            return None, f"{name} is not a text."
    if not obj[names[0]]:
        return None, f"{names[0]} is empty."
    return (obj[names[0]], obj[names[1]]), ""
