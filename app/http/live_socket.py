"""One socket of the live channel: a reader, a writer, and between them the conversation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

import asyncpg

from app.alerting.rows import alerts_after
from app.credentials import Credential
from app.http.problems import UNAVAILABLE
from app.http.raw_path import Receive, Send
from app.http.websocket_transport import CLOSE_SECONDS
from app.live.conversation import Conversation
from app.live.frames import Bodies, Subscribe
from app.live.subscription import AlertPage, Subscription
from app.live.watching import Feed
from app.service import Service
from domain.errors import Invalid, NotFound, Refusal

LOG = logging.getLogger("taximeter.live")

LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a lost or busy database looks like."""

RETRY_SECONDS = 1.0
"""The pause after alerts could not be read."""

TURN_FRAMES = 16
"""Frames sent in a row before others in this process get their turn: a quick reader of a whole tenant has thousands."""

CREDENTIAL_ENDED = 4401
"""The close code of a socket whose key, token or session has ended: 401 among the codes that are free."""


class Transport(NamedTuple):
    """What the server can do for a socket beside ASGI.

    ``abort`` cuts the connection off; nothing happens when it is closed. ``send_now`` sends a text if that can be done
    without waiting, and says whether it did.
    """

    abort: Callable[[], object]
    send_now: Callable[[str], bool]


class LiveSocket:
    """An accepted socket."""

    def __init__(
        self,
        service: Service,
        feed: Feed,
        bodies: Bodies,
        alert_readers: asyncio.Semaphore,
        credential: Credential,
        transport: Transport,
    ) -> None:
        self.credential = credential
        self._caller = credential.caller
        self._service = service
        self._feed = feed
        self._alert_readers = alert_readers
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._watched: set[str | None] = set()
        self._abort = transport.abort
        self._send_now = transport.send_now
        self._written = False
        self.conversation = Conversation(bodies, self._news.set, self._loop.time())

    async def run(self, receive: Receive, send: Send) -> None:
        """Talk until either side hangs up."""
        writer = asyncio.create_task(self._write(send))
        try:
            await self._read(receive)
        finally:
            writer.cancel()
            for customer_id in list(self._watched):
                self._unwatch(customer_id)
            await asyncio.gather(writer, return_exceptions=True)

    def beat(self, now: float) -> None:
        """Look whether a heartbeat is due."""
        if self.conversation.wants_heartbeat(now):
            self._news.set()

    def end(self) -> None:
        """Say that the credential has ended, and hang up, also on a peer that does not read."""
        message = "the key, token or session of this socket has expired or was revoked"
        self.conversation.finish(CREDENTIAL_ENDED, "CREDENTIAL_ENDED", message)
        self._loop.call_later(CLOSE_SECONDS, self._abort)

    # From the client

    async def _read(self, receive: Receive) -> None:
        while not self._written:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                self.conversation.receive_binary(self._loop.time())
            else:
                await self._hear(text)
            if self.conversation.close_code is not None:
                # The writer says why. The end comes as a disconnect, at the latest when the connection is cut off.
                self._loop.call_later(CLOSE_SECONDS, self._abort)
            while self.conversation.crowded and not self._written:
                self._room.clear()
                await self._room.wait()

    async def _hear(self, text: str) -> None:
        asked = self.conversation.receive(text, self._loop.time())
        if isinstance(asked, Subscribe):
            await self._subscribe(asked)
        elif asked is not None:
            self._let_go(asked)

    async def _subscribe(self, frame: Subscribe) -> None:
        subscription: Subscription | None = None
        tenant_id = self._caller.tenant_id
        try:
            customer_id = await self._customer_of(frame)
            if frame.after is not None:
                await self._reach(frame.after)
            if self.conversation.close_code is not None:
                return
            subscription = self.conversation.begin(frame, customer_id, self._feed.position(tenant_id))
            self._watched.add(customer_id)
            if customer_id is None:
                await self._feed.watch_tenant(tenant_id, self.conversation)
            else:
                self.conversation.offer(await self._feed.watch_customer(tenant_id, customer_id, self.conversation))
            self.conversation.opened(subscription, self._feed.position(tenant_id))
        except Refusal as refused:
            self._refuse(frame, subscription, refused.code, refused.message)
        except LOST as error:
            LOG.warning("a subscription failed: the database is not available: %s", error)
            self._refuse(frame, subscription, "DATABASE_UNAVAILABLE", UNAVAILABLE.partition(";")[0])

    def _refuse(self, frame: Subscribe, subscription: Subscription | None, code: str, message: str) -> None:
        if subscription is not None:
            self.conversation.end(subscription)
            self._let_go(subscription)
        self.conversation.refuse(code, message, frame.id)

    async def _customer_of(self, frame: Subscribe) -> str | None:
        """The customer to watch, ``None`` for the tenant. To a customer token everybody else is not there."""
        only = self._caller.customer_id
        if frame.tenant:
            if only is not None:
                raise Refusal("FORBIDDEN", "tenant: a customer token shows its customer only")
            return None
        if frame.subscription_id is not None:
            customer_id = await self._feed.customer_of(self._caller.tenant_id, frame.subscription_id)
            if only not in (None, customer_id):
                raise NotFound("subscription", frame.subscription_id)
            return customer_id
        assert frame.customer_id is not None, "a frame has exactly one target"
        if only not in (None, frame.customer_id):
            raise NotFound("customer", frame.customer_id)
        return frame.customer_id

    async def _reach(self, after: int) -> None:
        try:
            await self._feed.reach(self._caller.tenant_id, after)
        except Invalid as refused:
            raise Invalid("after", refused.message.partition(": ")[2]) from None

    def _let_go(self, subscription: Subscription) -> None:
        if not self.conversation.still_needs(subscription.customer_id):
            self._unwatch(subscription.customer_id)

    def _unwatch(self, customer_id: str | None) -> None:
        self._watched.discard(customer_id)
        if customer_id is None:
            self._feed.unwatch_tenant(self._caller.tenant_id, self.conversation)
        else:
            self._feed.unwatch_customer(self._caller.tenant_id, customer_id, self.conversation)

    # To the client

    async def _write(self, send: Send) -> None:
        try:
            await self._send_all(send)
        except asyncio.CancelledError:
            raise
        except OSError:
            pass  # The peer has hung up; so the reader is told, too.
        except Exception:
            LOG.exception("a socket of the live channel failed")
            self._abort()
        finally:
            # Nobody reads any more: whoever is still reading customers for this socket may stop.
            self._written = True
            self._room.set()
            for customer_id in list(self._watched):
                self._unwatch(customer_id)

    async def _send_all(self, send: Send) -> None:
        sent = 0
        while True:
            self._news.clear()
            taken = self.conversation.take(self._loop.time(), self._feed.position(self._caller.tenant_id))
            if isinstance(taken, str):
                if not self._send_now(taken):
                    await self._send(send, {"type": "websocket.send", "text": taken})
                self._room.set()
                sent += 1
                if sent % TURN_FRAMES == 0:
                    await asyncio.sleep(0)
            elif taken is not None:
                await self._read_alerts(taken)
            elif self.conversation.close_code is not None:
                close = {"type": "websocket.close", "code": self.conversation.close_code, "reason": ""}
                await self._send(send, close)
                return
            else:
                await self._wait_for_news()

    async def _send(self, send: Send, message: dict[str, object]) -> None:
        """Send, or raise ``ConnectionError`` when the socket was closed meanwhile: uvicorn has no error of its own."""
        try:
            await send(message)
        except RuntimeError as error:
            raise ConnectionError(str(error)) from error

    async def _wait_for_news(self) -> None:
        rests_until = self.conversation.rests_until
        if rests_until is None:
            await self._news.wait()
            return
        timer = self._loop.call_at(rests_until, self._news.set)
        try:
            await self._news.wait()
        finally:
            timer.cancel()

    async def _read_alerts(self, page: AlertPage) -> None:
        """Read what is owed, however long the database is away: nothing newer is sent of it before."""
        tenant_id = self._caller.tenant_id
        while True:
            try:
                async with self._alert_readers:
                    rows = await alerts_after(
                        self._service, tenant_id, page.customer_id, page.after, page.until, page.limit
                    )
            except LOST as error:
                LOG.info("alerts could not be read (%s); tried again", error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.conversation.alerts(page, rows)
                return
