"""The proof of an invoice: one file that its customer checks without us. See docs/audit-proof.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from litestar import Router, get
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from app.audit.proving import Proof, prove
from app.http.auth import requires
from app.http.reading import Asked, Serving, path_id
from app.service import Service

JSON_LINES = "application/jsonl"

CHUNK_BYTES = 256 * 1_024
"""What is read of the file at once: enough that a pack of hundreds of megabytes is some hundred reads."""


async def _sent(proof: Proof) -> AsyncIterator[bytes]:
    with proof.file as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


async def proof_file(request: Asked, service: Service, invoice_id: str, position: int | None = None) -> Stream:
    """The proof of an invoice, saved by a browser under its id. Raises as ``prove`` does."""
    key_file = request.app.state.operating.signing_key
    proof = await prove(service, key_file, request.auth.tenant_id, path_id(invoice_id, "invoice"), position)
    headers = {
        "content-length": str(proof.size),
        "content-disposition": f'attachment; filename="{proof.invoice_id}.proof.jsonl"',
    }
    return Stream(_sent(proof), media_type=JSON_LINES, headers=headers)


@get("/invoices/{invoice_id:str}/proof", guards=[requires("read")], media_type=JSON_LINES)
async def get_invoice_proof(
    request: Asked,
    service: Serving,
    invoice_id: FromPath[str],
    position: Annotated[int | None, QueryParameter(ge=1)] = None,
) -> Stream:
    """An invoice with everything that proves it, for `taximeter-verify`.

    It holds the events that were counted, the facts about prices, meters and credits, and their proofs up to a signed
    head: that of the log's end, or of the commit that ends at ``position``, which may have been published before.
    """
    return await proof_file(request, service, invoice_id, position)


ROUTER = Router("/", route_handlers=[get_invoice_proof], tags=["Invoices"])
