"""The SQL of the read models and of reading the log."""
