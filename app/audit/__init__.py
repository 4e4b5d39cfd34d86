"""Proving what the log says: for auditors, on the command line and over HTTP."""
