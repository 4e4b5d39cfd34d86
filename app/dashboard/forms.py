"""A form as it was sent: what was entered, and what is wrong with it, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Request

from domain.errors import Refusal


class Form:
    """Entered values and the errors beside them. An empty one starts a page on which nothing was entered yet."""

    def __init__(self, entered: Mapping[str, list[str]] | None = None, **starting: str) -> None:
        self.entered = {**{name: [value] for name, value in starting.items()}, **(entered or {})}
        self.errors: dict[str, str] = {}

    def text(self, name: str, default: str = "") -> str:
        """What was entered in a field, without white space around it; ``default`` where there is nothing."""
        return self.entered.get(name, [""])[-1].strip() or default

    def all(self, name: str) -> list[str]:
        """Everything that was entered under a name, in order: of fields that repeat."""
        return [value.strip() for value in self.entered.get(name, [])]

    def checked(self, name: str) -> bool:
        """Whether a box was checked."""
        return bool(self.text(name))

    def wrong(self, name: str, message: str) -> None:
        """Note an error beside a field; the first one stays."""
        self.errors.setdefault(name, message)

    def refuse(self, error: Refusal, **fields: str) -> None:
        """Note why a command was refused, beside the field that it names.

        ``fields`` says which field of the form stands for a field of the command, where the names differ.
        """
        name = error.field or ""
        self.wrong(fields.get(name, name), error.message)

    def unplaced(self, *names: str) -> list[str]:
        """The errors beside none of these fields: they stand above the form."""
        return [message for name, message in self.errors.items() if name not in names]


async def read_form(request: Request[Any, Any, Any]) -> Form:
    """The form that a request carries."""
    sent = await request.form()
    entered: dict[str, list[str]] = {}
    for name, value in sent.multi_items():
        if isinstance(value, str):
            entered.setdefault(name, []).append(value)
    return Form(entered)
