"""Exports and archives of the log: files that are read, verified and imported without the database they came from."""
