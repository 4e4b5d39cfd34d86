"""The embedded PostgreSQL server: find its binaries, make its data directory, run it, share it, stop it."""
