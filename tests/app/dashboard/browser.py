"""What the browser tests do with a page: watch it for errors, check that everybody can use it, take pictures of it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import ConsoleMessage, Page, Request

CHROMIUM = os.environ.get("TAXIMETER_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
"""Debian's browser, not one that Playwright downloads."""

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--mute-audio",
]

LOOKS = [("light", False, False), ("dark", True, False), ("phone", False, True)]
"""How a page is looked at: name, dark, phone."""

_errors: WeakKeyDictionary[Page, list[str]] = WeakKeyDictionary()
_allowed: WeakKeyDictionary[Page, tuple[str, ...]] = WeakKeyDictionary()


def watch(page: Page, host: str) -> None:
    """Note every error of a page, and everything that it asks of another host."""
    errors = _errors.setdefault(page, [])

    def spoke(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(f"console: {message.text}")

    def asked(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != host:
            errors.append(f"asked another host: {request.url}")

    page.on("console", spoke)
    page.on("pageerror", lambda error: errors.append(f"page error: {error}"))
    page.on("request", asked)


def allow_errors(page: Page, *texts: str) -> None:
    """Errors that hold one of these texts are what the test is about."""
    _allowed[page] = (*_allowed.get(page, ()), *texts)


def unexpected_errors(page: Page) -> list[str]:
    """What went wrong on a page so far, but for what was allowed."""
    return [error for error in _errors[page] if not any(text in error for text in _allowed.get(page, ()))]


async def check_accessibility(page: Page) -> None:
    """Fail on anything that axe calls serious or critical."""
    found: list[dict[str, Any]] = (await Axe().run(page)).response["violations"]
    serious = [
        f"{finding['id']}: {finding['help']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for finding in found
        if finding["impact"] in ("serious", "critical")
        for node in finding["nodes"]
    ]
    assert not serious, json.dumps(serious, indent=1)


@cache
def pictures() -> Path:
    """Where screenshots go."""
    named = os.environ.get("TAXIMETER_SCREENSHOTS")
    where = Path(named) if named else Path(tempfile.gettempdir()) / "taximeter-screenshots"
    where.mkdir(parents=True, exist_ok=True)
    return where


async def shoot(page: Page, name: str) -> Path:
    """A picture of the whole page."""
    path = pictures() / f"{name}.png"
    await page.screenshot(path=path, full_page=True)
    return path
