"""The one exception of the embedded engine."""


class EngineError(Exception):
    """The embedded server cannot be run; the message is a sentence for a person at a terminal."""
