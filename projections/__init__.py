"""Read models derived from the log: each can be dropped and rebuilt from it."""
