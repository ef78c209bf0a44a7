"""Who an AT Protocol account is: from a handle or a DID to the server that holds the account (https://atproto.com/specs).

The rule: a handle counts if its DID's document names it, and a document counts if it is the DID's own.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from SlyAPI import ApiError, Auth, SlyError, WebAPI
from SlyAPI.errors import IdentityError
from SlyAPI.web.redirects import leads_inside

if TYPE_CHECKING:
    from aiohttp import ClientSession

HANDLE = re.compile(r"(?=.{3,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
RESERVED = (".alt", ".arpa", ".example", ".internal", ".invalid", ".local", ".localhost", ".onion")
DID = re.compile(r"did:(?:plc:[a-z2-7]{24}|web:(?P<host>[a-z0-9.-]+))")
TXT = 16  # RFC 1035 §3.2.2


@dataclass(frozen=True)
class Account:
    """An account for good (`did`), and the origin of the server that holds it now (`pds`)."""

    did: str
    pds: str


@dataclass
class Service:
    """A server in a DID document."""

    id: str
    type: str
    serviceEndpoint: Any


@dataclass
class Document:
    """What AT Protocol reads of a DID document (https://atproto.com/specs/did)."""

    id: str
    alsoKnownAs: list[str] = field(default_factory=list)
    service: list[Service] = field(default_factory=list)


@dataclass
class Record:
    """One DNS record in a resolver's JSON."""

    type: int
    data: str


@dataclass
class Records:
    """A resolver's JSON."""

    Answer: list[Record] = field(default_factory=list)


@dataclass(frozen=True)
class Directory:
    """Where identities are looked up; `session` lends its connections."""

    plc: str = "https://plc.directory"
    dns: str = "https://dns.google/resolve"  # by https, because Python has no resolver for TXT records
    session: ClientSession | None = None

    async def account(self, name: str) -> Account:
        """The account with a handle or a DID. Raises `IdentityError`, or another `SlyError` where nobody answers."""
        handle = None if name.startswith("did:") else name.removeprefix("@").lower()
        document = await self._document(name if handle is None else await self._did_of(handle))
        if handle is not None and claimed_handle(document) != handle:
            raise IdentityError(f"{handle} leads to {document.id}, whose document does not name this handle.")
        pds = pds_in(document)
        if leads_inside(self.plc, pds):  # anybody can write a document
            raise IdentityError(f"The document of {document.id} names a server in a private network.")
        return Account(document.id, pds)

    async def _did_of(self, handle: str) -> str:
        """The DID of a handle: its DNS record, else what its host serves (https://atproto.com/specs/handle)."""
        if not is_handle(handle):
            raise IdentityError(f"{handle!r} is not a handle.", next_step="A handle looks like alice.bsky.social.")
        found: list[str] = []
        with suppress(SlyError):  # where the resolver cannot be reached, the host may still answer
            async with self._web(self.dns) as web:
                answer = await web.get("", params={"name": f"_atproto.{handle}", "type": "TXT"}, returns=Records)
            found = dids_in(answer.Answer)
        if len(found) > 1:
            raise IdentityError(f"{handle} has several DIDs in DNS.", next_step="Try again later.")
        if found:
            return found[0]
        try:
            async with self._web(f"https://{handle}") as web:
                return (await web.get_text("/.well-known/atproto-did")).strip()
        except ApiError as error:
            raise IdentityError(f"{handle} has no DID, in DNS or at its host (HTTP {error.status}).") from None

    async def _document(self, did: str) -> Document:
        match = DID.fullmatch(did)
        if match is None or not (match["host"] is None or is_handle(match["host"])):
            raise IdentityError("This is not a DID of the kinds plc and web.")
        host = match["host"]
        async with self._web(self.plc if host is None else f"https://{host}") as web:
            document = await web.get(f"/{did}" if host is None else "/.well-known/did.json", returns=Document)
        if document.id != did:
            raise IdentityError(f"The document of {did} is another one's.")
        return document

    def _web(self, base: str) -> WebAPI:
        web = WebAPI(Auth.none(), session=self.session)
        web.base_url, web.reply_limit = base, 1 << 16
        return web


def is_handle(text: str) -> bool:
    """Whether this is the name of a host that may be asked."""
    return HANDLE.fullmatch(text) is not None and not text.endswith(RESERVED)


def dids_in(records: Iterable[Record]) -> list[str]:
    """The DIDs in TXT records; a long record is several quoted parts."""
    texts = {record.data.replace('" "', "").strip('"') for record in records if record.type == TXT}
    return sorted(text.removeprefix("did=") for text in texts if text.startswith("did="))


def claimed_handle(document: Document) -> str | None:
    """The handle that a document claims: the first that is one."""
    names = [name.removeprefix("at://").lower() for name in document.alsoKnownAs if name.startswith("at://")]
    return next((name for name in names if is_handle(name)), None)


def pds_in(document: Document) -> str:
    """The origin of the account's server, by the first entry for one. Raises `IdentityError`."""
    ids = ("#atproto_pds", f"{document.id}#atproto_pds")
    fit = [one for one in document.service if one.id in ids and one.type == "AtprotoPersonalDataServer"]
    url = str(fit[0].serviceEndpoint).rstrip("/") if fit else ""
    parts = urlsplit(url)
    if not parts.hostname or url != f"{parts.scheme}://{parts.netloc}" or "@" in url:
        raise IdentityError(f"The document of {document.id} names no server that holds the account.")
    return url
