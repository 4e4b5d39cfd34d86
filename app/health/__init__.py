"""Whether a process of the service can do its work, and how far the projection is behind."""
