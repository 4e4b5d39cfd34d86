"""One socket of the live channel: what comes in is heard, what there is to say is sent; between is the conversation.

A socket has no task that writes. Whoever brings it news has it send what can be sent at once; only for a peer that does
not keep up, and to read alerts, a task waits in its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import asyncpg

from app import lost_database
from app.alerting.rows import alerts_after
from app.credentials import Credential
from app.http.problems import UNAVAILABLE
from app.http.raw_path import Receive, Send
from app.http.websocket_transport import CLOSE_SECONDS
from app.live.conversation import Conversation
from app.live.frames import Subscribe
from app.live.shared import Shared
from app.live.subscription import AlertPage, Subscription
from app.live.watching import Feed
from app.service import Service
from domain.errors import Invalid, NotFound, Refusal

LOG = logging.getLogger("taximeter.live")

LOST = (*lost_database.LOST, asyncpg.PostgresError)
"""What a lost or busy database looks like."""

RETRY_SECONDS = 1.0
"""The pause after alerts could not be read."""

TURN_FRAMES = 16
"""Frames sent in a row before others in this process get their turn: a quick reader of a whole tenant has thousands."""

CREDENTIAL_ENDED = 4401
"""The close code of a socket whose key, token or session has ended: 401 among the codes that are free."""


class Transport(NamedTuple):
    """What the server can do for a socket beside ASGI.

    ``abort`` cuts the connection off; nothing happens when it is closed. ``send`` sends a text without waiting, or says
    that it could not.
    """

    abort: Callable[[], object]
    send: Callable[[str], bool]


class LiveSocket:
    """An accepted socket."""

    def __init__(
        self,
        service: Service,
        feed: Feed,
        shared: Shared,
        alert_readers: asyncio.Semaphore,
        credential: Credential,
        transport: Transport,
    ) -> None:
        self.credential = credential
        self._caller = credential.caller
        self._service = service
        self._feed = feed
        self._shared = shared
        self._alert_readers = alert_readers
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._watched: set[str | None] = set()
        self._transport = transport
        self._send: Send | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._goes_on = False
        self._over = False
        self.conversation = Conversation(shared, self, self._loop.time())

    async def run(self, receive: Receive, send: Send) -> None:
        """Talk until either side hangs up."""
        self._send = send
        try:
            await self._read(receive)
        finally:
            self._finish()
            if self._waiting is not None:
                self._waiting.cancel()
                await asyncio.gather(self._waiting, return_exceptions=True)
            # Without these circles the memory is free at once; the garbage collector would have to find it.
            self._send = None
            self.conversation.forget()

    def beat(self, now: float) -> None:
        """Look whether a heartbeat is due."""
        if self.conversation.wants_heartbeat(now):
            self.wake()

    def end(self) -> None:
        """Say that the credential has ended, and hang up, also on a peer that does not read."""
        message = "the key, token or session of this socket has expired or was revoked"
        self.conversation.finish(CREDENTIAL_ENDED, "CREDENTIAL_ENDED", message)
        self._loop.call_later(CLOSE_SECONDS, self._transport.abort)

    # From the client

    async def _read(self, receive: Receive) -> None:
        while not self._over:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                self.conversation.receive_binary(self._loop.time())
            else:
                await self._hear(text)
            if self.conversation.close_code is not None:
                # It is told why. The end comes as a disconnect, at the latest when the connection is cut off.
                self._loop.call_later(CLOSE_SECONDS, self._transport.abort)
            while self.conversation.crowded and not self._over:
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
            subscription = self.conversation.begin(frame, customer_id, self._feed.alerts_until(tenant_id))
            self._watched.add(customer_id)
            if customer_id is None:
                await self._feed.watch_tenant(tenant_id, self.conversation)
            else:
                self.conversation.offer(await self._feed.watch_customer(tenant_id, customer_id, self.conversation))
            self.conversation.opened(subscription, self._feed.position(tenant_id), self._feed.alerts_until(tenant_id))
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

    def send(self, text: str) -> bool:
        """Send a frame at once, or say that it could not be."""
        sent = not self._over and not self._goes_on and self._waiting is None and self._transport.send(text)
        self._shared.frames_sent += sent
        return sent

    def wake(self) -> None:
        """Send what can be sent at once, at most ``TURN_FRAMES``; whatever has to be waited for becomes a task."""
        if self._over or self._waiting is not None or self._goes_on:
            return
        try:
            self._say_some()
        except Exception:
            LOG.exception("a socket of the live channel failed")
            # Cut off not from here: whoever brought the news may be going through those who watch.
            self._over = True
            self._loop.call_soon(self._cut_off)

    def _say_some(self) -> None:
        conversation, now = self.conversation, self._loop.time()
        position = self._feed.position(self._caller.tenant_id)
        for _ in range(TURN_FRAMES):
            taken = conversation.take(now, position)
            if isinstance(taken, str):
                self._room.set()
                if not self._transport.send(taken):
                    self._wait_for(partial(self._send_slowly, {"type": "websocket.send", "text": taken}))
                    return
                self._shared.frames_sent += 1
                if conversation.idle:
                    return
            elif taken is not None:
                self._wait_for(partial(self._read_alerts, taken))
                return
            else:
                if conversation.close_code is not None:
                    self._wait_for(partial(self._hang_up, conversation.close_code))
                return
        self._goes_on = True
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._goes_on = False
        self.wake()

    def _wait_for(self, doing: Callable[[], Awaitable[None]]) -> None:
        self._waiting = asyncio.create_task(self._wait(doing))

    async def _wait(self, doing: Callable[[], Awaitable[None]]) -> None:
        try:
            await doing()
        except OSError:
            self._finish()  # The peer has hung up; so the reader is told, too.
        except Exception:
            LOG.exception("a socket of the live channel failed")
            self._cut_off()
        self._waiting = None
        self.wake()

    def _cut_off(self) -> None:
        self._finish()
        self._transport.abort()

    def _finish(self) -> None:
        """Nothing is sent any more: whoever is still reading customers for this socket may stop."""
        self._over = True
        self._room.set()
        for customer_id in list(self._watched):
            self._unwatch(customer_id)

    async def _hang_up(self, close_code: int) -> None:
        await self._send_slowly({"type": "websocket.close", "code": close_code, "reason": ""})
        self._finish()

    async def _send_slowly(self, message: dict[str, object]) -> None:
        """Send, or raise ``ConnectionError`` when the socket was closed meanwhile: uvicorn has no error of its own."""
        assert self._send is not None, "only a socket that runs sends"
        try:
            await self._send(message)
        except RuntimeError as error:
            raise ConnectionError(str(error)) from error
        self._shared.frames_sent += message["type"] == "websocket.send"

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
