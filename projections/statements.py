"""SQL lives in ``.sql`` files; this reads the named statements out of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load(package: str, file: str) -> Mapping[str, str]:
    """The statements of ``file`` in ``package``, by the name in the ``-- name:`` line above each.

    Raises ``ValueError`` when a name stands twice, or anything but comments stands before the first name.
    """
    return parse(resources.files(package).joinpath(file).read_text(encoding="utf-8"), f"{package}/{file}")


def parse(text: str, source: str) -> Mapping[str, str]:
    """Split ``text`` at its name lines; ``source`` names it in errors."""
    before, *rest = _NAME.split(text)
    if any(line.strip() and not line.startswith("--") for line in before.splitlines()):
        raise ValueError(f"{source}: a statement stands before the first name")
    statements: dict[str, str] = {}
    for name, body in zip(rest[::2], rest[1::2], strict=True):
        if name in statements:
            raise ValueError(f"{source}: the name {name} stands twice")
        statements[name] = body.strip().rstrip(";")
    return statements
