"""A process that uses the embedded server of the home given as its argument.

It prints one line of JSON with the DSN once it is inside, and leaves at SIGTERM or at the end of its input.
With `--ordinary`, root first becomes `nobody`.
"""

import asyncio
import json
import os
import pwd
import signal
import sys
from pathlib import Path

from app.engine import copies, launcher
from app.engine.account import Account
from app.engine.binaries import find_binaries


def become_ordinary(home: Path) -> None:
    """Drop root for good, with server programs that the new account can read."""
    if os.geteuid() != 0:
        return
    entry = pwd.getpwnam("nobody")
    account = Account(entry.pw_uid, entry.pw_gid, "nobody", switch=True)
    programs = asyncio.run(copies.usable(find_binaries(), account, [home.parent]))
    launcher.find_binaries = lambda _wanted: programs
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


async def use(home: Path) -> None:
    """Enter, tell so, and wait for the sign to leave."""
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, leave.set)
    loop.add_reader(sys.stdin.fileno(), leave.set)
    async with launcher.embedded(home) as engine:
        print(json.dumps({"dsn": engine.dsn, "uid": os.geteuid()}), flush=True)
        await leave.wait()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if "--ordinary" in sys.argv:
        become_ordinary(target)
    asyncio.run(use(target))
