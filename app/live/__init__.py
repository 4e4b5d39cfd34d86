"""Live usage and cost: what customers stand at, kept up with the log, and the conversation that tells it."""
