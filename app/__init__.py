"""The service: the append, the commands, the HTTP API and the processes around the domain."""

__version__ = "0.1.0"
