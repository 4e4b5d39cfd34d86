"""What clients were told, line by line in a file: whatever the database holds in the end has to agree with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO


@dataclass
class Evidence:
    """What clients of one tenant know for certain.

    ``recorded`` holds events that were answered with success, ``refused`` ids of which nothing was ever accepted,
    ``conflicts`` contents that lost against the first of their id, ``voided`` ids that were taken back, ``invoices``
    the document of each invoice as it was first seen, ``heads`` digests of the log by their positions.
    """

    recorded: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    refused: set[str] = field(default_factory=set[str])
    conflicts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    voided: set[str] = field(default_factory=set[str])
    invoices: dict[str, str] = field(default_factory=dict[str, str])
    heads: dict[int, str] = field(default_factory=dict[int, str])


class EvidenceFile:
    """The file of a run. What a client learns stands here before it acts on it."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8")

    def note(self, tenant_id: str, what: str, **said: Any) -> None:
        """One line."""
        self._file.write(json.dumps({"tenant_id": tenant_id, "what": what, **said}) + "\n")

    def close(self) -> None:
        self._file.close()


def read_evidence(path: Path) -> dict[str, Evidence]:
    """The evidence of every tenant. Two documents of one invoice are two entries, of which one cannot hold."""
    found: dict[str, Evidence] = {}
    for line in _lines(path):
        known = found.setdefault(line["tenant_id"], Evidence())
        match line["what"]:
            case "recorded":
                known.recorded[line["event"]["event_id"]] = line["event"]
            case "refused":
                known.refused.add(line["event_id"])
            case "conflict":
                known.conflicts.append(line["event"])
            case "voided":
                known.voided.update(line["event_ids"])
            case "invoice":
                known.invoices[f"{line['invoice_id']} {line['document']}"] = line["invoice_id"]
            case "head":
                known.heads[line["position"]] = line["digest"]
            case other:
                raise ValueError(f"{path} holds a line of an unknown kind: {other}")
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
