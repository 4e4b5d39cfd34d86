"""Alerts: set, looked at as usage comes in and as cycles close, fired once in a cycle, read afterwards."""
