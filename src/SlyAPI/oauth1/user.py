"""One user's OAuth 1 grant: a token and its secret, which have no expiry; read from and written as JSON.

The rule: neither of the two ever prints.
"""

from dataclasses import dataclass
from typing import Any, Self

from ..errors import CredentialsError, clean_traceback
from ..json_file import StrPath, display_path, read_json_file
from ..tokens.recognise import recognise
from ..web.next_steps import PROGRAM


@dataclass(repr=False)
class OAuth1User:
    """One user's token credentials (RFC 5849 §2.3). `dataclasses.asdict` gives the file format.

    Both are empty for an API that wants the client's signature alone.
    """

    __module__ = "SlyAPI.oauth1"

    key: str
    secret: str

    def __repr__(self) -> str:
        return "OAuth1User('***', '***')"

    @classmethod
    @clean_traceback
    def from_json_file(cls, path: StrPath) -> Self:
        """The user in a file. Raises `CredentialsNotFoundError` or `CredentialsError`."""
        return cls.from_json_obj(read_json_file(path, made_with=f"{_MADE_WITH} --user"), display_path(path))

    @classmethod
    @clean_traceback
    def from_json_obj(cls, obj: Any, name: str = "The user JSON") -> Self:
        """The user in our own JSON, or under the names of RFC 5849 §2.3; further keys are ignored.

        `name` is for messages. Raises `CredentialsError`, which names what the object is instead.
        """
        members = obj if isinstance(obj, dict) else {}
        pairs = [("key", "secret"), ("oauth_token", "oauth_token_secret")]
        names = next((pair for pair in pairs if members.keys() >= {*pair}), None)
        if not isinstance(obj, dict):
            problem = "it is not a JSON object."
        elif names is None or "request_uri" in obj or "authorize_uri" in obj:
            problem = f"it is {recognise(obj)}."
        elif wrong := [key for key in names if not isinstance(obj[key], str) or not obj[key].isprintable()]:
            problem = f"{wrong[0]} is not a string."
        elif not obj[names[0]]:
            problem = f"{names[0]} is empty."
        else:
            return cls(obj[names[0]], obj[names[1]])
        raise CredentialsError(f"{name} does not contain a user's token: {problem} {_HINT}")


@dataclass(repr=False)
class TemporaryCredentials:
    """The credentials of one grant until the user consents (RFC 5849 §2.1)."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return "TemporaryCredentials('***', '***')"


_MADE_WITH = f"{PROGRAM} grant oauth1"
_HINT = f"Make one with: {_MADE_WITH}"
