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

VOID_EVENTS_MAX = 1_000
"""Events retracted by one request: as many as one request records."""

REASON_MAX_CHARS = 500
"""Why something is retracted or voided. It is kept with each event, so a request adds a megabyte at most to the log."""

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

PRODUCT_CREDITS_MAX = 5
"""Credit entitlements of one product: the wire contract's limit."""

PRICE_TIERS_MAX = 50
"""Tiers of one meter's price: each that is used stands on the invoice's line."""

TEXT_MAX_CHARS = 255
"""Names of meters, products, customers and units: one line on a page."""

DESCRIPTION_MAX_CHARS = 1_000
"""Descriptions: the wire contract's limit."""

CREDIT_UNIT_MAX_CHARS = 50
"""The unit of an entitlement's credits: the wire contract's limit."""

METADATA_MAX_PAIRS = 50
METADATA_KEY_MAX_CHARS = 40
METADATA_VALUE_MAX_CHARS = 500
"""Metadata on objects: the wire contract's limits (an event's keys may be longer)."""

MONEY_MAX_MINOR = 10**12
"""A fixed price or a quantity times it stays far inside 64 bits, and inside what a JSON client reads exactly."""

TRIAL_DAYS_MAX = 10_000
"""Days of a trial: over 27 years, so that its end is always a date."""

QUANTITY_MAX = 10**6
"""Times a product may be taken in one subscription."""

SECRET_MAX_CHARS = 200
"""An API key. No longer one is read: hashing a megabyte of header for a stranger is work he should not get."""

INVOICE_PREFIX_MAX_CHARS = 20
"""An invoice number has to fit a line on a page."""

CYCLES_BACK_MAX = 1_500
"""Cycles that a new subscription may have behind it: over four years of days. All are opened in its one command, which
holds the tenant's log meanwhile."""

CLOCK_MOVE_DAYS_MAX = 3_653
"""How far one request may move a test clock: ten years. Each cycle on the way is closed, so a mistyped year would cost
hours."""

CLOCK_MOVE_SECONDS_MAX = 40
"""How long one request walks before it answers how far it came: shorter than a client's patience (60 s)."""

CLOCK_INVOICES_MAX = 100
"""Invoices that the answer of a moved test clock shows, as many as a page of a list."""

CUSTOMER_ALERTS_MAX = 100
"""Alerts of one customer. All of them are compared each time its usage changes, which is cheap; a page lists them."""

ADDRESS_MAX_LINES = 8
ADDRESS_MAX_CHARS = 500
"""A company's address: some lines at the top of a page."""

LOGO_MAX_BYTES = 48 * 1_024
"""A company's logo. It stands in the settings, which are read with every batch of usage."""

LOGO_MAX_PIXELS = 2_000
"""A logo's width and height: four million points, unpacked in some ten megabytes."""

TAX_LINES_MAX = 5
"""Taxes on one invoice: the end of one page, beside its sums."""

TAX_NAME_MAX_CHARS = 50
"""A tax's name: half a line beside the sums."""

TAX_PERCENT_MAX_DIGITS = 4
"""Digits of a tax's percentage after the point; real ones have up to three."""

LIVE_SOCKETS_MAX = 10_000
"""Sockets of the live channel in one process, some 50 kilobytes each; more want more processes."""

READY_LAG_EVENTS = 1_000_000
"""Events that the projection may be behind before the service calls itself not ready: ten seconds of work or more."""
