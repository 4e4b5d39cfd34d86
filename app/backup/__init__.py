"""Backups of the embedded database and of one by URL, and restoring them, to the last moment or to an earlier one."""
