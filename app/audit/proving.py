"""Making a proof pack on request: which head it goes up to, and a file of its own for what is written."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path
from typing import IO

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.audit.proof_pack import Pack
from app.audit.proof_subject import SQL, Subject, subject_of
from app.audit.signing_key import SigningKeyError, load_key
from app.service import Service
from domain.errors import Conflict, Invalid
from projections.database import Database
from projections.log_reader import Head, commits_after, head

LOG = logging.getLogger("taximeter.audit")

_ONE = asyncio.Semaphore(1)
"""One pack at a time in a process: making one is work for a processor, and two would hold up its requests longer."""


class Proof(msgspec.Struct, frozen=True):
    """A pack in a file without a name, which is gone once it is closed."""

    invoice_id: str
    size: int
    file: IO[bytes]


async def prove(
    service: Service, key_file: Path | None, tenant_id: str, invoice_id: str, position: int | None = None
) -> Proof:
    """The pack about an invoice up to the head of the log, or up to the commit that ends at ``position``.

    Raises ``NotFound``, ``Conflict`` (NO_SIGNING_KEY, EVENTS_NOT_THERE, LOG_DAMAGED), and ``Invalid`` for a position
    where no head can be. Usage that lies in an archive is the database's to tell (``TX410``).
    """
    async with service.pool.acquire() as connection:
        subject = await subject_of(connection, tenant_id, invoice_id)
        end = await _end(connection, subject, position)
        # Asked before the key is: of usage that lies in an archive no key gives a proof.
        spans = [span.since for span in subject.spans], [span.until for span in subject.spans]
        await connection.fetchval(SQL["rows_here"], tenant_id, *spans)
    key = await asyncio.to_thread(_key, key_file)
    # Hundreds of megabytes for a million events: not in memory, and not for longer than it is read.
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever sends it closes it
    try:
        async with _ONE:
            await Pack(service.pool, subject, end, key, file).write(service.clock())
        size = file.tell()
        file.seek(0)
        return Proof(invoice_id, size, file)
    except BaseException:
        file.close()
        raise


def _key(path: Path | None) -> Ed25519PrivateKey:
    """The service's key, read each time, since it may be made or replaced while the service runs."""
    if path is None:
        raise Conflict("NO_SIGNING_KEY", "this service has no key to sign with")
    try:
        return load_key(path)
    except SigningKeyError as error:
        # Where files lie is for the operator's eyes, and what is wrong with one for the log.
        LOG.warning("a proof was asked for: %s", error)
        raise Conflict(
            "NO_SIGNING_KEY", "this service has no key to sign with; its operator makes one with `taximeter audit key`"
        ) from error


async def _end(database: Database, subject: Subject, position: int | None) -> Head:
    """The head to sign. One at an earlier position is the same that was there, and may be published already."""
    end = await head(database, subject.tenant_id)
    if position is None:
        return end
    recorded = subject.sealed.commit.last_position
    if not recorded <= position <= end.position:
        raise Invalid("position", f"must lie between {recorded}, where the invoice was recorded, and {end.position}")
    (stored,) = await commits_after(database, subject.tenant_id, position - 1, limit=1)
    commit = stored.commit
    if commit.last_position != position:
        raise Invalid("position", f"must be the end of a commit, such as {commit.last_position}")
    return Head(commit.last_position, commit.digest, commit.recorded_at)
