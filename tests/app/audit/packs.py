"""Proof packs for tests: made by the service's own code, read as lines, and signed again after a change."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from app.audit.proof_pack import FORMAT
from app.audit.proving import prove
from domain.chain import canonical_fact, leaf
from domain.event import canonical
from domain.multiproof import Walk
from taximeter_verify import Checker, verify
from tests.app.shop import Shop

KEY = Ed25519PrivateKey.generate()

Line = dict[str, Any]


async def pack_of(shop: Shop, invoice_id: str | None, path: Path) -> Path:
    """The pack about an invoice, in a file."""
    proof = await prove(shop.service, key_file(path.with_suffix(".pem")), shop.tenant_id, str(invoice_id))
    with proof.file as file:
        return copied(file, path, proof.size)


def key_file(path: Path) -> Path:
    """The key in a file, as the service has it."""
    path.touch(mode=0o600)
    path.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def copied(file: IO[bytes], path: Path, size: int) -> Path:
    assert path.write_bytes(file.read()) == size
    return path


def lines_of(pack: Path) -> list[Line]:
    return [json.loads(line) for line in pack.read_bytes().splitlines()]


def written(path: Path, lines: list[Line], key: Ed25519PrivateKey = KEY) -> Path:
    """Lines as a pack that its maker signs: what somebody who holds the key could give away."""
    body = b"".join(encoded(line) + b"\n" for line in lines[:-1])
    digest = sha256(body).digest()
    end = {"sha256": digest.hex(), "signature": key.sign(FORMAT.encode() + digest).hex()}
    path.write_bytes(body + encoded(end) + b"\n")
    return path


def encoded(line: Line) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()


def forged(pack: Path, change: Callable[[list[Line]], object]) -> Checker:
    """What the program says of a pack that was changed and signed again."""
    lines = lines_of(pack)
    change(lines)
    return verify(written(pack.with_suffix(".forged"), lines))


def commit_with(lines: list[Line], kind: str) -> Line:
    """The first commit that shows a fact of a kind."""
    return next(line for line in lines if any(fact[3] == kind for fact in line.get("facts", [])))


def usage_commit(lines: list[Line]) -> Line:
    """The first commit that shows usage."""
    return next(line for line in lines if "events" in line)


def hide(commit: Line, place: int) -> None:
    """Show only the hash of one event of a commit, of which everything was shown; the commit's root stays the same."""
    name = "events" if "events" in commit else "facts"
    members = commit[name]
    assert len(members) == commit["last"] - commit["first"] + 1, "something is hidden already"
    walk, nodes = Walk(), list[bytes]()
    for ordinal, member in enumerate(members):
        if ordinal == place:
            walk.pass_by(leaf(event_content(*member[1:]) if name == "events" else canonical_fact(*fact_parts(*member))))
        else:
            nodes += walk.show()
    commit["nodes"] = [node.hex() for node in nodes + walk.end()]
    del members[place]


def event_content(event_id: str, name: str, at: int, metadata: str) -> bytes:
    return canonical(event_id.encode(), name.encode(), b"ada", at, metadata.encode())


def fact_parts(_: int, stream: str, version: int, kind: str, state: str) -> tuple[str, int, str, bytes]:
    return stream, version, kind, state.encode()
