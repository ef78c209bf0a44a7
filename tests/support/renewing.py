"""An auth whose credential is a number: the next one after each refusal."""
from __future__ import annotations

from typing import Any

from SlyAPI import Auth
from SlyAPI.web.messages import Request


class Renewing(Auth):
    """Puts `number` into `header`."""

    def __init__(self, header: str = "X-Number") -> None:
        self.header, self.number = header, 1

    async def sign(self, client: Any, request: Request) -> Request:
        request.headers[self.header] = str(self.number)
        return request

    async def sign_again(self, client: Any, request: Request, headers: Any) -> bool:
        self.number += 1
        await self.sign(client, request)
        return True
