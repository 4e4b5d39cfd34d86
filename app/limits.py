"""The bounds of the running service, each with its reason. Those of an event or a price stand where it is defined."""

from __future__ import annotations

POOL_SIZE = 10
"""Connections per process. Two processes on two cores keep a server with the default 100 connections far from full."""

COMMAND_TIMEOUT_SECONDS = 60
"""A statement of the service that runs this long is stuck: an append takes milliseconds, a page of the projection
well under a second."""

LOCK_TIMEOUT_SECONDS = 20
"""How long a command waits for its tenant's head. Longer than any close, shorter than a client's patience (60 s)."""

IDLE_TRANSACTION_SECONDS = 30
"""A transaction whose process hangs is ended, so that it cannot hold a tenant's head for ever."""

PAGE_SIZE_MAX = 100
"""Rows of a list answer: the wire contract's limit."""

EVENT_PAGE_SIZE_MAX = 1_000
"""Rows of an event list, for which the contract names no limit; a page stays under a megabyte or two."""

PAGE_OFFSET_MAX = 10_000_000
"""Offset paging reads what it skips; past this a caller has to narrow the question by time."""

USAGE_WINDOWS_MAX = 10_000
"""Windows in one usage answer: over a year of hours, in about a megabyte."""

WAIT_FOR_POSITION_SECONDS = 20
"""How long `at_least` waits for the projection before it answers 503."""

SUBSCRIPTION_ITEMS_MAX = 20
"""Products of one subscription: a bound on the size of an invoice."""

PRODUCT_METERS_MAX = 10
"""Meters of one product: the wire contract's limit."""

TEXT_MAX_CHARS = 255
"""Names of meters, products, customers and units: one line on a page."""

DESCRIPTION_MAX_CHARS = 1_000
"""Descriptions: the wire contract's limit."""

METADATA_MAX_PAIRS = 50
METADATA_KEY_MAX_CHARS = 40
METADATA_VALUE_MAX_CHARS = 500
"""Metadata on objects: the wire contract's limits (an event's keys may be longer)."""

MONEY_MAX_MINOR = 10**12
"""A fixed price or a quantity times it stays far inside 64 bits, and inside what a JSON client reads exactly."""

QUANTITY_MAX = 10**6
"""Times a product may be taken in one subscription."""

SECRET_MAX_CHARS = 200
"""An API key. No longer one is read: hashing a megabyte of header for a stranger is work he should not get."""

INVOICE_PREFIX_MAX_CHARS = 20
"""An invoice number has to fit a line on a page."""

READY_LAG_EVENTS = 1_000_000
"""Events that the projection may be behind before the service calls itself not ready: ten seconds of work or more."""
