"""The edge to HTTP: bodies off the wire and paths as they were sent."""
