"""The service: the append, the commands, the HTTP API and the processes around the domain."""
