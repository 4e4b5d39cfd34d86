"""The bounds of the running service, each with its reason. Those of an event or a price stand where it is defined."""

from __future__ import annotations

POOL_SIZE = 10
"""Connections per process. Two processes on two cores keep a server with the default 100 connections far from full."""

COMMAND_TIMEOUT_SECONDS = 60
"""A statement of the service that runs this long is stuck: an append takes milliseconds, a page of the projection
well under a second."""

LOCK_TIMEOUT_SECONDS = 20
"""How long a command waits for its tenant's head. Longer than any close, shorter than a client's patience (60 s)."""

IDLE_TRANSACTION_SECONDS = 10
"""A transaction whose process hangs is ended, so that it cannot hold a tenant's head for ever. Shorter than the wait
for a lock: whoever waits behind it gets the lock instead of giving up."""

PAGE_SIZE_MAX = 100
"""Rows of a list answer: the wire contract's limit."""

EVENT_PAGE_SIZE_MAX = 1_000
"""Rows of an event list, for which the contract names no limit; a page stays under a megabyte or two."""

WAITING_EVENTS_MAX = 100_000
"""Events that may wait in one process to be recorded: some 100 MB at a kilobyte each, and a few seconds of work. A
client that is told to come back is better off than one whose request waits past its patience."""

COMMANDS_AT_ONCE = 2
"""Commands of one tenant that hold a connection: one has the tenant's head, another stands ready for it. More would
only keep connections from other tenants."""

COMMANDS_WAITING_MAX = 50
"""Commands of one tenant that wait in one process, beyond those: a second of work, and a quarter of the requests that
a process takes on, so that a tenant whose head is held does not shut the door for the others."""

COMMAND_WAIT_SECONDS = 10
"""How long a command waits for its turn before it is sent back: as long as for a connection."""

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

REQUESTS_MAX = 200
"""Requests at work in one process, twenty for each connection of its pool: enough to keep it busy and to be committed
together, and even at 5 ms of work each the last of them is answered in a second."""

PATIENT_REQUESTS_MAX = 50
"""Requests that may wait by intent, for a position or a test clock: they cost little while they do, but must not take
the place of others when the projector stands still."""

BODIES_MAX_BYTES = 64 * 1_024 * 1_024
"""Bytes of bodies in one process, as sent and unpacked, from the first byte to the answer. The largest batch has 16 MiB
packed and 32 MiB unpacked; what is read from a body takes several times its bytes."""

ACQUIRE_SECONDS = 10
"""How long a request waits for a connection of the pool: as long as two hundred requests of half a second each."""

CONNECT_SECONDS = 10
"""How long the database may take to open a connection; on a machine that is not lost it takes milliseconds."""

ANSWER_GRACE_SECONDS = 10
"""How much longer than the database's own limit a statement may take seen from here: then the line itself is dead."""

HEAD_MAX_BYTES = 64 * 1_024
"""Line and headers of a request. Keys have some forty bytes, paths up to ten kilobytes where an id is all percent
signs; other servers commonly take 8 to 64 KiB."""

HEAD_SECONDS = 20.0
"""How long a client may take to send them, from the moment it connects: as long as for a body."""

UNREAD_SECONDS = 30.0
"""How long an answer may lie unread once more than a buffer of it waits. The largest have a few megabytes."""

UNREAD_MAX = 100
"""Answers of one process that may lie unread at once; with a further one the oldest is given up. The largest have a few
megabytes, and readers that only are slow make room all the time."""

PIPELINED_MAX = 32
"""Requests of one connection that wait for the answer to an earlier one. Hardly any client sends so, and each costs
kilobytes where it cost the sender fifty bytes."""

HTTP_CONNECTIONS_MAX = 4_000
"""Connections of one process beside the sockets of the live channel; one that is idle costs some ten kilobytes."""

OTHER_FILES_MAX = 200
"""Files of a process that are no client's: connections of the database, modules, logs."""

SIMULATED_CYCLES_MAX = 100_000
"""Cycles of one simulation. Each is rated twice, in some milliseconds: with rests, these are the work of an hour."""

SIMULATED_CUSTOMERS_MAX = 1_000
"""Customers that a simulation may name; their ids are sent with each page. Without names it is all of them."""

SIMULATED_PRODUCTS_MAX = 50
"""Products that one simulation changes: each is looked up before it begins."""

SIMULATED_METERS_MAX = 5
"""Meters that a simulation may propose. Each counts in the log itself, event by event where it looks inside."""

SIMULATION_PAGE_CUSTOMERS = 10
"""Customers that a simulation reads together: what they share is a small part of the work by then."""

SIMULATION_PAGE_SECONDS = 0.5
"""After so long a page of a simulation ends, and its snapshot with it. Whom it did not come to is read again."""

SIMULATION_REST_SECONDS_MAX = 5
"""How long a simulation rests at once. It may do so in a transaction, so it is shorter than that may stand idle."""

SIMULATION_STATEMENT_SECONDS = 30
"""How long one statement of a simulation may take: a page of 50,000 events of one customer takes about one."""

SIMULATION_RESTS = 11
"""How many times as long as it works a simulation rests in a serving process. A twelfth of one core is left to it, the
database's part included: on two cores that is 4 % of the machine."""
