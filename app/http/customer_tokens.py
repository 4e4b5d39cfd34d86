"""Customer tokens over HTTP: what a page of a customer's own opens the live channel with."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Router, delete, post
from litestar.params import FromPath, JSONBody

from app.customer_tokens import LIFETIME_SECONDS, LIFETIME_SECONDS_MAX, mint, revoke
from app.http.auth import requires
from app.http.reading import Asked, Serving, check_known, members, path_id
from domain import instant
from domain.event import CUSTOMER_ID_MAX_CHARS


class TokenCreate(msgspec.Struct):
    """Whom the token is for, and for how long."""

    customer_id: Annotated[str, msgspec.Meta(min_length=1, max_length=CUSTOMER_ID_MAX_CHARS)]
    expires_in_seconds: Annotated[int, msgspec.Meta(ge=1, le=LIFETIME_SECONDS_MAX)] = LIFETIME_SECONDS


class TokenAnswer(msgspec.Struct):
    """The token, which is shown in this answer and nowhere else."""

    token_id: str
    token: str
    customer_id: str
    expires_at: str


@post("/customer-tokens", status_code=201, guards=[requires("write")])
async def create_customer_token(request: Asked, service: Serving, data: JSONBody[TokenCreate]) -> TokenAnswer:
    """Mint a token that shows one customer's live usage and cost, and nothing else.

    It opens `/live` and `/live/snapshot` until it expires, is revoked, or the key that minted it is revoked.
    """
    check_known(members(request), TokenCreate.__struct_fields__)
    token = await mint(service, request.auth, data.customer_id, data.expires_in_seconds)
    return TokenAnswer(token.token_id, token.secret, token.customer_id, instant.text(token.expires_at))


@delete("/customer-tokens/{token_id:str}", guards=[requires("write")])
async def revoke_customer_token(request: Asked, service: Serving, token_id: FromPath[str]) -> None:
    """Make a token open nothing from now on. What it has open closes within five seconds."""
    await revoke(service, request.auth, path_id(token_id, "customer_token"))


ROUTER = Router("/", route_handlers=[create_customer_token, revoke_customer_token], tags=["Live"])
