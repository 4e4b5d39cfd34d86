"""Signed heads: how far a tenant's log was at a moment, signed, a line each in a file that is kept elsewhere.

See docs/decisions/0029-signed-heads.md.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.settings import SettingError
from domain import instant
from domain.chain import DIGEST_BYTES

FORMAT = "taximeter.head.v1"

_LENGTH = struct.Struct(">I")
_NUMBERS = struct.Struct(">qqqq")
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


class HeadError(ValueError):
    """A line that is no signed head, or not one of the key it should be of; the message says why."""


class SignedHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line. Digest, tree, key and signature are hexadecimal; a field that is not signed is refused."""

    format: str
    tenant_id: str
    position: int
    commits: int
    recorded_at: datetime
    published_at: datetime
    digest: str
    tree: str
    public_key: str
    signature: str

    def line(self) -> bytes:
        """As it is written, with its line end."""
        fields = msgspec.structs.asdict(self)
        fields |= {name: instant.text(fields[name]) for name in ("recorded_at", "published_at")}
        return msgspec.json.encode(fields) + b"\n"

    def signed_bytes(self) -> bytes:
        """What the signature covers. Raises ``HeadError`` for values that no head has."""
        tenant = self.tenant_id.encode()
        try:
            numbers = _NUMBERS.pack(
                self.position, self.commits, instant.micros(self.recorded_at), instant.micros(self.published_at)
            )
        except (struct.error, instant.InvalidInstant) as error:
            raise HeadError(f"a number or a time is none of a head: {error}") from None
        digest, tree = _hexadecimal(self.digest, DIGEST_BYTES), _hexadecimal(self.tree, DIGEST_BYTES)
        return b"".join((FORMAT.encode(), _LENGTH.pack(len(tenant)), tenant, numbers, digest, tree))


def sign(
    key: Ed25519PrivateKey,
    *,
    tenant_id: str,
    position: int,
    commits: int,
    recorded_at: datetime,
    published_at: datetime,
    digest: bytes,
    tree: bytes,
) -> SignedHead:
    """A head, signed."""
    unsigned = SignedHead(
        format=FORMAT,
        tenant_id=tenant_id,
        position=position,
        commits=commits,
        recorded_at=recorded_at,
        published_at=published_at,
        digest=digest.hex(),
        tree=tree.hex(),
        public_key=key.public_key().public_bytes_raw().hex(),
        signature="",
    )
    return msgspec.structs.replace(unsigned, signature=key.sign(unsigned.signed_bytes()).hex())


def check_signature(head: SignedHead, pinned: str | None = None) -> None:
    """Raises ``HeadError`` when the head is not signed by the key it names, or not by the ``pinned`` one."""
    if head.format != FORMAT:
        raise HeadError(f"its format is '{head.format}', and this program knows {FORMAT}")
    if pinned is not None and head.public_key.lower() != pinned.lower():
        raise HeadError(f"it names the public key {head.public_key}, not {pinned}")
    key = Ed25519PublicKey.from_public_bytes(_hexadecimal(head.public_key, PUBLIC_KEY_BYTES))
    try:
        key.verify(_hexadecimal(head.signature, SIGNATURE_BYTES), head.signed_bytes())
    except InvalidSignature:
        raise HeadError("its signature does not fit: the line was changed, or never signed by this key") from None


def parse_head(line: bytes) -> SignedHead:
    """The head of a line. Its signature is not looked at. Raises ``HeadError``."""
    try:
        return msgspec.json.decode(line, type=SignedHead)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HeadError(f"it is no signed head: {error}") from None


class HeadsFile(msgspec.Struct, frozen=True):
    """What a file of published heads holds: those that are signed as they should be, by tenant and in the order of
    their positions, and what is wrong with other lines, by their number."""

    heads: dict[str, list[SignedHead]]
    problems: list[tuple[int, str]]

    def keys(self) -> list[str]:
        """The public keys that signed them."""
        return sorted({head.public_key for heads in self.heads.values() for head in heads})


def read_heads(path: Path, pinned: str | None = None) -> HeadsFile:
    """Read a file and check every signature. Raises ``SettingError`` when it cannot be read."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SettingError(f"the published heads {path} cannot be read: {error.strerror}") from None
    found = HeadsFile({}, [])
    for number, line in enumerate(lines, start=1):
        try:
            head = parse_head(line)
            check_signature(head, pinned)
        except HeadError as error:
            found.problems.append((number, str(error)))
        else:
            found.heads.setdefault(head.tenant_id, []).append(head)
    for heads in found.heads.values():
        heads.sort(key=lambda head: head.position)
    return found


def append_heads(path: Path, heads: Iterable[SignedHead]) -> None:
    """Write heads at the end of a file, made when missing; they are on the disk when this returns.

    Raises ``SettingError`` when it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise SettingError(f"the heads cannot be written to {path}: {error.strerror}") from None
    with os.fdopen(descriptor, "ab") as file:
        file.write(b"".join(head.line() for head in heads))
        file.flush()
        os.fsync(file.fileno())


def public_key(text: str) -> str:
    """A public key as it is printed. Raises ``ValueError`` for anything else."""
    try:
        return _hexadecimal(text.strip(), PUBLIC_KEY_BYTES).hex()
    except HeadError as error:
        raise ValueError(str(error)) from None


def _hexadecimal(text: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size or len(text) != 2 * size:
        raise HeadError(f"'{text}' is not {size} bytes in hexadecimal digits")
    return value
