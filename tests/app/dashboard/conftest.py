"""A real service with a database of its own, tenants in it, and a real browser that signs in to it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

from app.audit.signing_key import FILE_NAME
from app.commands import open_service
from app.dashboard.session import SESSION_COOKIE, begin_session
from app.database import connect_owner
from app.keys import create_key, system_caller
from app.projecting import project_all
from app.service import Caller, Service
from tests.app.dashboard.browser import ARGUMENTS, CHROMIUM, unexpected_errors, watch
from tests.app.test_supervisor import SAID, ready, serving
from tests.conftest import RULES

PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1280, height=900)
WAIT_MS = 15_000
"""How long an element may take to appear on a loaded machine."""
expect.set_options(timeout=WAIT_MS)


@dataclass(frozen=True)
class Tenant:
    """A tenant of the served application, with a key."""

    url: str
    key: str
    caller: Caller
    api: httpx.AsyncClient
    service: Service

    @property
    def tenant_id(self) -> str:
        return self.caller.tenant_id

    async def project(self) -> None:
        """Bring the read models to the log's end, without waiting for the service's own projector."""
        await project_all(self.service)

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        """Make something through the API."""
        answered = await self.api.post(path, json=body)
        assert answered.is_success, answered.text
        return answered.json()


@dataclass(frozen=True)
class Site:
    """``taximeter serve`` with two web processes, and its database."""

    url: str
    service: Service
    stack: AsyncExitStack
    signing_key: Path
    """Where the service looks for its key. There is none unless a test makes one."""

    async def tenant(self, scope: str = "write", *, test_mode: bool = False, of: str | None = None) -> Tenant:
        """A tenant that no other test has, or another key of one that is there already."""
        tenant_id = of or f"t{uuid4().hex[:12]}"
        owner = system_caller(tenant_id)
        key_id, secret = await create_key(self.service, owner, scope=scope, test_mode=test_mode)
        headers = {"Authorization": f"Bearer {secret}"}
        client = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30)
        api = await self.stack.enter_async_context(client)
        return Tenant(self.url, secret, Caller(tenant_id, key_id, scope, "test"), api, self.service)


@pytest.fixture(scope="session")
async def site(dsn: str) -> AsyncIterator[Site]:
    """The served application. Its projector must not meet tenants of other tests, so the database is its own."""
    name = f"dashboard_{uuid4().hex[:8]}"
    owner = await connect_owner(dsn)
    await owner.execute(f"create database {name}")
    await owner.close()
    parts = urlsplit(dsn)
    own = parts._replace(path=f"/{name}").geturl()
    kept = {variable: "" for variable in os.environ if variable.startswith("TAXIMETER_")}
    environment = {**kept, "TAXIMETER_DATABASE_URL": own, "TAXIMETER_API_KEY": uuid4().hex}
    with tempfile.TemporaryDirectory(prefix="taximeter-dashboard-") as home:
        async with serving(Path(home), "--workers", "2", **environment) as running, AsyncExitStack() as stack:
            async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
                await ready(client)
            service = await stack.enter_async_context(open_service(own, RULES))
            yield Site(running.url, service, stack, Path(home) / FILE_NAME)
            said = (Path(home) / SAID).read_text()
    assert "Traceback" not in said, said


@pytest.fixture
async def tenant(site: Site) -> Tenant:
    """A fresh tenant with a ``write`` key."""
    return await site.tenant()


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser, started once."""
    assert CHROMIUM, "the browser tests need Chromium: see the section on tests in README.md"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


OpenPage = Callable[..., Awaitable[Page]]


@pytest.fixture
async def open_page(site: Site, chromium: Browser) -> AsyncIterator[OpenPage]:
    """Opens pages, each in a browser profile of its own. The test fails when one of them had an error."""
    opened: list[Page] = []

    async def open_one(tenant: Tenant | None = None, *, dark: bool = False, phone: bool = False) -> Page:
        """A page, signed in with the tenant's key when there is one."""
        context = await chromium.new_context(
            base_url=site.url,
            viewport=PHONE if phone else DESK,
            color_scheme="dark" if dark else "light",
            has_touch=phone,
            is_mobile=phone,
            locale="en-GB",
            timezone_id="Europe/Berlin",
            reduced_motion="reduce",
        )
        context.set_default_timeout(WAIT_MS)
        if tenant is not None:
            secret = await begin_session(site.service, tenant.caller)
            await context.add_cookies(
                [{"name": SESSION_COOKIE, "value": secret, "url": site.url, "httpOnly": True, "sameSite": "Lax"}]
            )
        page = await context.new_page()
        watch(page, urlsplit(site.url).netloc)
        opened.append(page)
        return page

    yield open_one
    errors = [error for page in opened for error in unexpected_errors(page)]
    for page in opened:
        await page.context.close()
    assert not errors, errors


@pytest.fixture
async def signed_in(open_page: OpenPage, tenant: Tenant) -> Page:
    """A page signed in to a fresh tenant."""
    return await open_page(tenant)
