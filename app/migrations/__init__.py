"""The migrations of the permanent tables, applied in order of their names, forward only."""
