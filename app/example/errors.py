"""What can keep an example from running, in words for the person who started it."""

from __future__ import annotations


class ExampleError(Exception):
    """The example cannot go on. The message says why and what to do."""
