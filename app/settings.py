"""Every setting of the service, once: its flag, its environment variable, its default and its limits.

A flag wins over the environment, which wins over the default. ``docs/settings.md`` is printed from this table.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.engine.launcher import data_home
from app.limits import SECRET_MAX_CHARS
from app.logs import LogFormat
from domain import instant
from domain.tenant import Rules


class SettingError(Exception):
    """A setting has a value that it cannot have; the message names the setting and the rule."""


def _port(text: str) -> int:
    return _whole(text, 0, 65_535)


def _workers(text: str) -> int:
    return _whole(text, 1, 64)


def _whole(text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
        raise ValueError(f"must be a whole number from {low} to {high}")
    return int(text)


def _plain(text: str) -> str:
    return text


def _api_key(text: str) -> str:
    # What a header carries as it is; the service reads no longer one.
    if not _API_KEY.fullmatch(text):
        raise ValueError(f"must be {_API_KEY_RULE}")
    return text


def _origins(text: str) -> list[str]:
    origins = [one.strip().lower() for one in text.split(",") if one.strip()]
    if not all(_ORIGIN.fullmatch(one) for one in origins):
        raise ValueError("must be origins such as https://app.example.com, without a path and with commas between")
    return origins


_ORIGIN = re.compile(r"https?://[^/\s,?#@*]+")
"""Scheme, host and maybe a port, as a browser sends them; no patterns."""

_API_KEY_RULE = f"1 to {SECRET_MAX_CHARS} printable ASCII characters without white space"
_API_KEY = re.compile(f"[!-~]{{0,{SECRET_MAX_CHARS}}}")
"""A key, or the empty text for none."""


def _switch(text: str) -> bool:
    if text.lower() not in _SWITCHES:
        raise ValueError("must be true or false")
    return _SWITCHES[text.lower()]


_SWITCHES = {"": False, "false": False, "0": False, "no": False, "true": True, "1": True, "yes": True}


def _drain(text: str) -> float:
    duration = _bounded_duration(text)
    if duration > DRAIN_MAX:
        raise ValueError(f"must be at most {instant.duration_text(DRAIN_MAX)}")
    return duration.total_seconds()


DRAIN_MAX = timedelta(minutes=10)
"""Longer than any load balancer takes to notice; whoever stops a service wants it stopped."""


def _database_url(text: str) -> str:
    if text and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")
    return text


def _data(text: str) -> Path:
    return Path(text).absolute() if text else data_home()


def _file(text: str) -> Path | None:
    return Path(text).absolute() if text else None


def _archive(text: str) -> str:
    return str(Path(text).absolute()) if text not in ("", NO_ARCHIVE) else text


NO_ARCHIVE = "none"
"""The value of `--wal-archive` that ends archiving."""


def _log_format(text: str) -> LogFormat:
    if text not in list(LogFormat):
        raise ValueError("must be text or json")
    return LogFormat(text)


def _duration(text: str) -> timedelta | None:
    return instant.parse_duration(text)


def _bounded_duration(text: str) -> timedelta:
    duration = instant.parse_duration(text)
    if duration is None:
        raise ValueError("must be a duration such as 1h or 0s")
    return duration


@dataclass(frozen=True)
class Setting:
    """One setting. ``read`` turns its text into its value and raises ``ValueError`` with the rule.

    The value of a ``secret`` one is never printed. The flag of a ``repeatable`` one may be given several times, which
    means the same as one text with commas. The flag of a ``switch`` has no value: to give it is to say `true`.
    """

    name: str
    default: str
    unit: str
    limit: str
    meaning: str
    read: Callable[[str], Any]
    secret: bool = False
    repeatable: bool = False
    switch: bool = False

    @property
    def flag(self) -> str:
        """The command line's name for it."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment's name for it."""
        return f"TAXIMETER_{self.name.upper()}"


HOST = Setting("host", "127.0.0.1", "address", "", "where the service listens; 0.0.0.0 for every network", _plain)
PORT = Setting("port", "8080", "port", "0 to 65535; 0 takes a free one", "where the service listens", _port)
WORKERS = Setting("workers", "1", "processes", "1 to 64", "web processes that share the port", _workers)
DATA = Setting(
    "data",
    "",
    "directory",
    "",
    "home of the embedded PostgreSQL; empty: /var/lib/taximeter for root, else ~/.local/share/taximeter",
    _data,
)
DATABASE_URL = Setting(
    "database_url",
    "",
    "URL",
    "PostgreSQL 15 to 18",
    "a server to use instead of the embedded one, as its owner: postgresql://user@host/database",
    _database_url,
    secret=True,
)
WAL_ARCHIVE = Setting(
    "wal_archive",
    "",
    "directory",
    "none ends it",
    "where the embedded PostgreSQL archives its write-ahead log, remembered in the data directory: with a backup, any"
    " later moment can be restored",
    _archive,
)
TENANT = Setting(
    "tenant",
    "default",
    "id",
    "1 to 63 of a-z, 0-9, _ and -",
    "the tenant that a command or the first key is for",
    _plain,
)
API_KEY = Setting(
    "api_key",
    "",
    "text",
    _API_KEY_RULE,
    "the key of `watch` and of an example's client; for `serve`, from the environment only, the first tenant's key",
    _api_key,
    secret=True,
)
URL = Setting(
    "url", "http://127.0.0.1:8080", "URL", "", "the running service that `watch` or an example talks to", _plain
)
EVENT_AGE_MAX = Setting(
    "event_age_max", "35d", "duration", "up to 100 years, or none", "how old a usage event may be", _duration
)
EVENT_AHEAD_MAX = Setting(
    "event_ahead_max", "5m", "duration", "up to 100 years, or none", "how far ahead a usage event may lie", _duration
)
CLOSE_GRACE = Setting(
    "close_grace",
    "1h",
    "duration",
    "up to 100 years",
    "how long after its end a cycle closes by itself",
    _bounded_duration,
)

ALLOW_ORIGIN = Setting(
    "allow_origin",
    "",
    "origin",
    "",
    "an origin whose pages may open the live channel beside the service's own; several with commas, or the flag again",
    _origins,
    repeatable=True,
)

LOG_FORMAT = Setting(
    "log_format",
    "text",
    "format",
    "text or json",
    "lines for people, or one JSON object a line, with a line for each request",
    _log_format,
)

DRAIN = Setting(
    "drain",
    "2s",
    "duration",
    "0s to 10m",
    "how long after SIGTERM the service still serves while `/health/ready` answers 503; Ctrl-C does not wait",
    _drain,
)

METRICS_TOKEN = Setting(
    "metrics_token",
    "",
    "text",
    _API_KEY_RULE,
    "what `/metrics` wants as `Authorization: Bearer`; without one it is open to everybody who reaches the port",
    _api_key,
    secret=True,
)
NO_METRICS = Setting(
    "no_metrics", "false", "switch", "true or false", "whether `/metrics` is left out", _switch, switch=True
)

SIGNING_KEY = Setting(
    "signing_key",
    "",
    "file",
    "",
    "the Ed25519 key, in PEM, that signs published heads and proofs of invoices; empty: audit-key.pem in the directory"
    " of `--data`",
    _file,
)

DATABASE = (DATA, DATABASE_URL)
OPERATING = (DRAIN, METRICS_TOKEN, NO_METRICS)
RULES = (EVENT_AGE_MAX, EVENT_AHEAD_MAX, CLOSE_GRACE)
ALL = (
    *(HOST, PORT, WORKERS, ALLOW_ORIGIN, LOG_FORMAT, *OPERATING),
    *(*DATABASE, WAL_ARCHIVE, SIGNING_KEY, TENANT, API_KEY, URL, *RULES),
)


def add_flags(parser: ArgumentParser, settings: tuple[Setting, ...]) -> None:
    """Offer settings as flags of a command."""
    for setting in settings:
        default = setting.default or "none"
        if setting.switch:
            parser.add_argument(setting.flag, action="store_const", const="true", help=setting.meaning)
            continue
        action = "append" if setting.repeatable else "store"
        parser.add_argument(
            setting.flag, action=action, metavar=setting.unit.upper(), help=f"{setting.meaning} (default: {default})"
        )


def value(setting: Setting, flags: Namespace, environment: Mapping[str, str]) -> Any:
    """A setting's value. Raises ``SettingError`` naming where the bad value came from."""
    given = getattr(flags, setting.name, None)
    source = setting.flag if given is not None else setting.variable
    text = given if given is not None else environment.get(setting.variable, setting.default)
    if isinstance(text, list):
        text = ",".join(text)
    try:
        return setting.read(text)
    except ValueError as error:
        shown = "not usable" if setting.secret else repr(text)
        raise SettingError(f"{source} is {shown}: {error}") from None


def rules(flags: Namespace, environment: Mapping[str, str]) -> Rules:
    """The service's own rules, which hold for tenants that set none."""
    return Rules(
        event_ahead_max=value(EVENT_AHEAD_MAX, flags, environment),
        event_age_max=value(EVENT_AGE_MAX, flags, environment),
        close_grace=value(CLOSE_GRACE, flags, environment),
        number_prefix="INV-",
        company={},
    )


def page() -> str:
    """``docs/settings.md``."""
    rows = [
        f"| `{s.flag}` | `{s.variable}` | {f'`{s.default}`' if s.default else 'none'} | {s.unit} | {s.limit or 'none'}"
        f" | {s.meaning} |"
        for s in ALL
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "A flag wins over the environment variable, which wins over the default. A command takes the flags that",
            "matter to it (`taximeter COMMAND --help`); the environment holds for all of them.",
            "",
            "| flag | environment | default | unit | limit | meaning |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "Durations are written as `30s`, `5m`, `1h`, `35d`, or `none` for no limit. The last three are defaults:",
            "a tenant sets its own with `PATCH /settings`.",
            "",
        ]
    )
