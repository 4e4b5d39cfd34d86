"""The dashboard: pages for people, rendered by the service and served at ``/``."""
