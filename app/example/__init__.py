"""Worked examples that drive a running service from outside, through its public HTTP API."""
