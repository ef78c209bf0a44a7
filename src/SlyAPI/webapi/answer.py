"""A whole reply with the value made from it: what `WebAPI.request` and `head` return. Opens no connection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..web.json import read_reply
from ..web.messages import Method, Reply, Request
from ..web.urls import bare_url

T = TypeVar("T")


@dataclass(slots=True, repr=False)
class Answer(Generic[T]):
    """The reply to one request: `answer = await api.request("GET", "/notes", returns=list[Note])`.

    `status`: the HTTP status. `headers`: case-insensitive. `url`: the address that answered, after redirects.
    `body`: the bytes, decompressed. `value`: the body as the type `returns`, None without one.
    """

    __module__ = "SlyAPI"

    status: int
    headers: Mapping[str, str]
    url: str
    body: bytes
    value: T
    _method: Method = field(default=Method.GET, kw_only=True)

    def __repr__(self) -> str:
        return f"<Answer {self.status} from {bare_url(self.url)}, {len(self.body)} bytes>"

    @property
    def text(self) -> str:
        """The body as text, in the encoding that the reply names, else UTF-8."""
        return self._reply().text()

    def json(self) -> Any:
        """The JSON of the body. Raises `BadReplyError` for any other body."""
        return read_reply(self._reply(), Request(self._method, self.url))

    def _reply(self) -> Reply:
        return Reply(self.status, self.headers, self.body, self.url)
