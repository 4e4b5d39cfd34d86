"""Why a command is refused. The HTTP layer turns each class into a status; the code and message pass as they are."""

from __future__ import annotations


class Refusal(Exception):
    """A command that changes nothing. ``code`` is stable (UPPER_SNAKE); ``message`` is a sentence for a person."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class Invalid(Refusal):
    """A field breaks a rule; ``field`` names it."""

    def __init__(self, field: str, rule: str, code: str = "INVALID_FIELD") -> None:
        super().__init__(code, f"{field}: {rule}", field)


class NotFound(Refusal):
    """No such object in this tenant; a foreign one looks the same."""

    def __init__(self, what: str, object_id: str) -> None:
        super().__init__(f"{what.upper()}_NOT_FOUND", f"there is no {what.replace('_', ' ')} '{object_id}'")


class Conflict(Refusal):
    """The object's state does not allow it, now."""


class Insufficient(Refusal):
    """There is not enough to take it from: credits, or money in a wallet."""


class Gone(Refusal):
    """It was archived already."""
