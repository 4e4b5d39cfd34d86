"""One web process and a projector as `taximeter serve` has them, with a route more that only decodes the body.

python bench/single_server.py DSN PORT            prints a line when it serves, and ends with its stdin
"""

from __future__ import annotations

import socket
import sys

import uvicorn
import uvloop
from close import RULES
from litestar import Request, post

from app.commands import open_service
from app.garbage import keep_what_is_there, look_rarely
from app.http import gate
from app.http.application import build
from app.ingest.decode import decode_events
from app.web_process import server_config

DECODE = "/bench/decode"
"""The route to compare with: everything around it is the same."""


@post(DECODE, status_code=200)
async def decode(request: Request) -> dict[str, int]:
    """Decode the body as ingest does, and do nothing with it."""
    return {"events": len(decode_events(await request.body(), ndjson=False).events)}


async def serve(dsn: str, listener: socket.socket) -> None:
    """Serve until it is told to stop."""
    look_rarely()
    gate.RAW_BODY_PATHS |= {DECODE}
    application, served = build(lambda: open_service(dsn, RULES), [])
    application.register(decode)
    keep_what_is_there()
    await uvicorn.Server(server_config(served, application.state.admission)).serve(sockets=[listener])


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2]))))
