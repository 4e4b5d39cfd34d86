"""The manifest of an export: what its files hold, how far each log was, and a digest of every file."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from app.audit.archive.tables import Column
from app.engine.durable import write_durably

MANIFEST = "manifest.json"
"""Written when everything else is on the disk: a directory without it is no export."""

SEAL = "manifest.sha256"
"""The manifest's own digest, in the form that ``sha256sum --check`` reads. Written last."""

Encoding = Literal["parquet", "csv"]


class ArchiveError(Exception):
    """An export cannot be made, or a directory is none; the message says why and what to do."""


class DoesNotFit(Exception):
    """What is in an archive is not what was put there, or not a log; the message names the first place."""


class FileNote(msgspec.Struct, frozen=True, kw_only=True):
    """One file: ``path`` is below the manifest's directory, ``sha256`` that of its bytes."""

    path: str
    tenant_id: str
    table: str
    rows: int
    size: int
    sha256: str
    columns: tuple[Column, ...]


class HeadNote(msgspec.Struct, frozen=True, kw_only=True):
    """How far a tenant's log was, and the position up to which its usage is in the ledger of credits."""

    tenant_id: str
    position: int
    commits: int
    recorded_at: datetime
    digest: str
    counted_position: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """An *archive* holds the whole log of each of its tenants; an *extract* a span of it, or another encoding.

    ``since`` and ``until`` bound an extract: usage by its timestamp, invoices and ledgers by their times.
    """

    format: Literal["taximeter.export.v1"] = "taximeter.export.v1"
    kind: Literal["archive", "extract"]
    encoding: Encoding
    taximeter: str
    exported_at: datetime
    since: datetime | None = None
    until: datetime | None = None
    holds_secrets: bool = False
    heads: tuple[HeadNote, ...]
    files: tuple[FileNote, ...]


class Exported(msgspec.Struct, frozen=True):
    """A finished export; ``digest`` is the SHA-256 of its manifest, which names all the rest."""

    directory: Path
    manifest: Manifest
    digest: str


def write_manifest(directory: Path, manifest: Manifest) -> str:
    """Write the manifest and its digest, which is returned. Raises ``OSError``."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1).decode() + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    write_durably(directory / MANIFEST, text)
    write_durably(directory / SEAL, f"{digest}  {MANIFEST}\n")
    return digest


def read_manifest(directory: Path) -> Exported:
    """The manifest of an export. Raises ``ArchiveError`` when there is none, ``DoesNotFit`` when it was changed."""
    try:
        raw = (directory / MANIFEST).read_bytes()
        seal = (directory / SEAL).read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise ArchiveError(f"{directory} is no finished export: {error}") from None
    digest = hashlib.sha256(raw).hexdigest()
    if seal != f"{digest}  {MANIFEST}\n":
        raise DoesNotFit(f"{directory / MANIFEST} has the digest {digest}, and {SEAL} says something else")
    try:
        return Exported(directory, msgspec.json.decode(raw, type=Manifest), digest)
    except msgspec.DecodeError as error:
        raise ArchiveError(f"{directory / MANIFEST} cannot be read: {error}") from None


def check_files(exported: Exported) -> None:
    """Read every file from the disk. Raises ``DoesNotFit`` for one that is missing, changed, or not in the manifest."""
    noted = {note.path for note in exported.manifest.files}
    held = {str(path.relative_to(exported.directory)) for path in exported.directory.rglob("*") if path.is_file()}
    for path in sorted(held - noted - {MANIFEST, SEAL}):
        raise DoesNotFit(f"{exported.directory / path} is not in the manifest")
    # So that no path leads out of the directory either.
    for path in sorted(noted - held):
        raise DoesNotFit(f"{exported.directory / path} is in the manifest and not there")
    for note in exported.manifest.files:
        found = digest_of(exported.directory / note.path)
        if found != note.sha256:
            raise DoesNotFit(
                f"{exported.directory / note.path} has the digest {found}; the manifest says {note.sha256}"
            )


def digest_of(path: Path) -> str:
    """The SHA-256 of a file. Raises ``DoesNotFit`` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DoesNotFit(f"{path} cannot be read: {error}") from None
