"""One request through the broker: signed, sent, and repeated once after a 401 where its body allows."""

from typing import TYPE_CHECKING

from ...auth.exchange import Exchange, added_by_signing
from ...oauth2.signers.signer import Signer
from ...transport.streaming import Streamed, begin_any
from ...web.messages import Request
from ...web.secret_values import Secrets
from ...webapi.signed_call import copied, is_repeatable

if TYPE_CHECKING:
    from aiohttp import ClientSession


async def signed_exchange(auth: Signer, session: "ClientSession", own: Request) -> tuple[Streamed, Secrets]:
    """The reply, to be closed, and what it must not repeat. Follows no redirect. Raises what `Auth.sign` raises."""
    exchange = Exchange(auth, session)
    request = await exchange.sign(copied(own))
    secrets = [auth.user.refresh_token or "", auth.app.secret or "", *added_by_signing(own, request)]
    reply = await begin_any(session, request)
    try:
        while await exchange.sign_again(request, reply.status, reply.headers):
            secrets += [auth.user.refresh_token or "", *added_by_signing(own, request)]
            if not is_repeatable(request):
                break  # the caller's next request has the newer credential
            reply.close()
            reply = await begin_any(session, request)
    except BaseException:
        reply.close()
        raise
    return reply, Secrets(secrets)
