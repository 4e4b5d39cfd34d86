"""The SQL of the permanent tables."""
