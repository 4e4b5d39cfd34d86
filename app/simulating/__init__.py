"""Real history rated with other prices: read, settled and rated in memory, and recorded nowhere."""
