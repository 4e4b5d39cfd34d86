"""Signing in with a key, what a session is worth, and that nobody else can use it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import urlencode

import httpx
import pytest
from playwright.async_api import expect

from app.dashboard.guards import TOKEN_COOKIE, safe_path
from app.dashboard.session import SESSION_COOKIE, SESSION_LIFETIME, begin_session, living_sessions
from app.keys import digest_of, revoke_key
from app.service import Service
from tests.app.dashboard.browser import allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site, Tenant
from tests.conftest import serving

SIGN_IN = "/dashboard/sign-in"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def browser(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    """What a browser sends and keeps, without a window."""
    async with httpx.AsyncClient(base_url=site.url, headers={"Accept": "text/html"}, timeout=30) as client:
        yield client


async def token(browser: httpx.AsyncClient, path: str = SIGN_IN) -> str:
    """The token of the forms on a page."""
    found = re.search(r'name="_csrf_token" value="([0-9a-f]+)"', (await browser.get(path)).text)
    assert found is not None
    return found[1]


async def sign_in(browser: httpx.AsyncClient, key: str, **more: str) -> httpx.Response:
    form = {"_csrf_token": await token(browser), "api_key": key, **more}
    return await browser.post(SIGN_IN, data=form)


async def test_a_key_opens_the_page_that_was_asked_for(open_page: OpenPage, tenant: Tenant) -> None:
    page = await open_page()
    await page.goto("/dashboard/system?x=1")
    await expect(page).to_have_title("Sign in · Taximeter")
    await check_accessibility(page)
    await shoot(page, "sign-in-light")
    await page.get_by_label("API key").fill(tenant.key)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{tenant.url}/dashboard/system?x=1")
    assert tenant.key not in await page.content()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page).to_have_title("Sign in · Taximeter")
    await page.goto("/")
    await expect(page).to_have_url(f"{tenant.url}{SIGN_IN}")


async def test_a_wrong_key_is_told_beside_the_field_and_is_not_shown_again(open_page: OpenPage) -> None:
    page = await open_page(phone=True)
    allow_errors(page, "status of 401")
    await page.goto(SIGN_IN)
    await page.get_by_label("API key").fill("tax_mistyped")
    await page.get_by_role("button", name="Sign in").click()
    field = page.get_by_label("API key")
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_have_accessible_description(re.compile("opens nothing"))
    await expect(field).to_have_value("")
    assert "tax_mistyped" not in await page.content()
    await check_accessibility(page)
    await shoot(page, "sign-in-wrong-phone")


async def test_the_cookie_is_kept_from_scripts_and_other_sites(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    answered = await sign_in(browser, tenant.key)
    assert (answered.status_code, answered.headers["location"]) == (303, "/")
    cookie = next(text for text in answered.headers.get_list("set-cookie") if text.startswith(SESSION_COOKIE))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/;" in cookie
    assert tenant.key not in cookie
    secret = browser.cookies[SESSION_COOKIE]
    rows = await tenant.service.pool.fetch("select s::text as row from kept.session s")
    assert rows
    assert not any(secret in row["row"] for row in rows)


async def test_the_cookie_is_for_https_alone_where_that_is_spoken(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    browser.headers["X-Forwarded-Proto"] = "https"
    answered = await sign_in(browser, tenant.key)
    # The client does not send a cookie for https over http: its token is missing, and that is what is refused.
    assert answered.status_code == 403
    kept = (await browser.get(SIGN_IN)).headers["set-cookie"]
    assert "Secure" in kept


async def test_an_ingest_key_cannot_look(browser: httpx.AsyncClient, site: Site) -> None:
    answered = await sign_in(browser, (await site.tenant(scope="ingest")).key)
    assert answered.status_code == 403
    assert "scope &#39;ingest&#39;" in answered.text
    assert SESSION_COOKIE not in browser.cookies


@pytest.mark.parametrize("key", ["", " ", "x" * 201, "tax_ä", "'; drop table"])
async def test_what_is_no_key_opens_nothing(browser: httpx.AsyncClient, key: str) -> None:
    answered = await sign_in(browser, key)
    assert answered.status_code == (401 if key.strip() else 422)
    assert SESSION_COOKIE not in browser.cookies


async def test_a_session_ends_with_its_key(browser: httpx.AsyncClient, site: Site, tenant: Tenant) -> None:
    second = await site.tenant(of=tenant.tenant_id)
    await sign_in(browser, second.key)
    assert (await browser.get("/dashboard/system")).status_code == 200
    digest = digest_of(browser.cookies[SESSION_COOKIE])
    assert await living_sessions(site.service, [digest, b"0" * 32]) == {digest}
    await revoke_key(site.service, tenant.caller, second.caller.key_id)
    assert await living_sessions(site.service, [digest]) == set()
    refused = await browser.get("/dashboard/system")
    assert (refused.status_code, refused.headers["location"]) == (302, f"{SIGN_IN}?next=%2Fdashboard%2Fsystem")


async def test_a_session_ends_after_its_time_and_is_dropped(site: Site, tenant: Tenant) -> None:
    secret = await begin_session(site.service, tenant.caller)
    later = Service(
        site.service.pool, lambda: site.service.clock() + SESSION_LIFETIME + timedelta(seconds=1), site.service.rules
    )
    assert await living_sessions(site.service, [digest_of(secret)])
    assert not await living_sessions(later, [digest_of(secret)])
    # Signing in clears away what has expired.
    assert (
        await site.service.pool.fetchval("select count(*) from kept.session where digest = $1", digest_of(secret)) == 1
    )
    await begin_session(later, tenant.caller)
    assert (
        await site.service.pool.fetchval("select count(*) from kept.session where digest = $1", digest_of(secret)) == 0
    )


async def test_signing_out_ends_every_copy_of_the_cookie(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    await sign_in(browser, tenant.key)
    secret = browser.cookies[SESSION_COOKIE]
    answered = await browser.post("/dashboard/sign-out", data={"_csrf_token": await token(browser, "/")})
    assert (answered.status_code, answered.headers["location"]) == (303, SIGN_IN)
    assert SESSION_COOKIE not in browser.cookies
    copied = await browser.get("/", headers={"Cookie": f"{SESSION_COOKIE}={secret}"})
    assert copied.headers["location"] == SIGN_IN


async def test_a_session_is_another_one_each_time(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    browser.cookies.set(SESSION_COOKIE, "chosen-by-somebody-else", domain="127.0.0.1")
    await sign_in(browser, tenant.key)
    first = [cookie.value for cookie in browser.cookies.jar if cookie.name == SESSION_COOKIE]
    assert "chosen-by-somebody-else" not in first


async def test_a_form_without_its_token_is_refused(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    await sign_in(browser, tenant.key)
    right = await token(browser, "/")
    async with httpx.AsyncClient(base_url=tenant.url) as other:
        forged = {"of somebody else": await token(other), "none": "", "made up": "0" * 128}
    for name, wrong in forged.items():
        answered = await browser.post("/dashboard/sign-out", data={"_csrf_token": wrong})
        assert answered.status_code == 403, name
        assert "text/html" in answered.headers["content-type"]
    # A token of somebody's own making, in the cookie too, is not signed with the service's secret.
    made_up = {"Cookie": f"{TOKEN_COOKIE}={'0' * 128}; {SESSION_COOKIE}={browser.cookies[SESSION_COOKIE]}"}
    assert (
        await browser.post("/dashboard/sign-out", data={"_csrf_token": "0" * 128}, headers=made_up)
    ).status_code == 403
    # htmx sends it in a header. Every web process knows the tokens of the others.
    for _ in range(8):
        async with httpx.AsyncClient(base_url=tenant.url, cookies=browser.cookies) as again:
            assert (await again.post("/dashboard/sign-out", headers={"X-CSRFToken": right})).status_code == 303


async def test_a_session_is_no_key_for_the_api(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    await sign_in(browser, tenant.key)
    assert (await browser.get("/meters")).status_code == 401
    assert (await browser.post("/meters", json={})).status_code == 401


async def test_the_api_is_not_asked_for_tokens(tenant: Tenant) -> None:
    answered = await tenant.api.post("/customers", json={"email": "ada@example.com", "name": "Ada"})
    assert answered.status_code == 200
    assert "set-cookie" not in answered.headers
    assert "content-security-policy" not in answered.headers


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/dashboard/\\evil",
        "javascript:alert(1)",
        "/dashboard/\r\nX: 1",
        "",
    ],
)
async def test_signing_in_leads_to_no_other_site(browser: httpx.AsyncClient, tenant: Tenant, elsewhere: str) -> None:
    assert safe_path(elsewhere) == "/"
    answered = await sign_in(browser, tenant.key, next=elsewhere)
    assert answered.headers["location"] == "/"
    seen = await browser.get(f"{SIGN_IN}?{urlencode({'next': elsewhere})}")
    assert (seen.status_code, seen.headers["location"]) == (303, "/")


@pytest.mark.parametrize("body", [b"api_key=%00", b"api_key=\0", b"api_key=%ff", b"api_key=" + b"x" * 1_100_000])
async def test_forms_are_bounded_text(service: Service, body: bytes) -> None:
    # In process: over a socket the service hangs up on a large body while it is still being sent.
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=serving(service)), base_url="http://test") as client:
        answered = await client.post(SIGN_IN, content=body, headers=FORM)
    assert answered.status_code == (413 if len(body) > 1_000_000 else 422)


async def test_a_form_is_none_for_the_api(tenant: Tenant) -> None:
    assert (await tenant.api.post("/meters", content=b"name=x", headers=FORM)).status_code == 422


async def test_the_way_in_of_a_script_whose_session_ended(browser: httpx.AsyncClient) -> None:
    fetched = await browser.get("/dashboard/system/rate.json", headers={"Accept": "application/json"})
    assert (fetched.status_code, fetched.json()["code"]) == (401, "SIGNED_OUT")
    assert fetched.json()["message"] == "sign in at /dashboard/sign-in"
    ended = await browser.get("/", headers={"Accept": "*/*", "Cookie": "taximeter_session=ended"})
    assert ended.json()["message"] == "the session has ended; sign in at /dashboard/sign-in"
    shown = {"HX-Request": "true", "HX-Current-URL": "http://test/dashboard/system?x=1"}
    swapped = await browser.get("/dashboard/system/state", headers=shown)
    assert (swapped.status_code, swapped.headers["hx-redirect"]) == (
        401,
        f"{SIGN_IN}?next=%2Fdashboard%2Fsystem%3Fx%3D1",
    )
