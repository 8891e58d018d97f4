"""Login with a real OpenID Connect provider, in a real browser."""

import time
from unittest import mock

import oidc_provider
import pytest
from oidc_provider import MISDIRECTED, running_provider
from real_browser import MARKS, SETTLED, free_ports, opened_tab
from streamlit.web.server.starlette import starlette_app_utils
from teach_pictures import drawn

from cifar_core import runs
from cifar_core.bench_browser import running_app
from cifar_core.config import TrainConfig
from cifar_core.inference.pictures import Picture
from cifar_core.runs import records, write_json
from cifar_core.teach import project as projects

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = MARKS
DAY, COOKIE = 86_400, "_streamlit_user"
FIRST, ROTATED = "a secret of the first term" * 2, "a secret of the second term" * 2
PAGES = ("", "classify", "teach", "explore?section=runs", "evaluate", "learn?lesson=scaling", "logout")
SHOWN = b"Start training"


def is_closed(page) -> None:
    shown = page.locator("[data-testid=stMain]")
    shown.get_by_role("button", name="Log in").wait_for()
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    assert shown.get_by_role("button").count() == 1 and shown.get_by_role("slider").count() == 0


def is_open(page) -> None:
    page.get_by_role("button", name="Start training").or_(page.get_by_role("button", name="synthetic")).first.wait_for()


def log_in(page, name: str) -> None:
    page.get_by_role("button", name="Log in").click()
    page.locator("input[name=sub]").fill(name)
    page.get_by_role("button", name="Authorize", exact=True).click()


def aged(value: str, secret: str, days: float) -> str:
    """The same cookie, signed by the server `days` ago."""
    content = starlette_app_utils.decode_signed_value(secret, COOKIE, value)
    with mock.patch("itsdangerous.TimestampSigner.get_timestamp", lambda signer: int(time.time() - days * DAY)):
        return starlette_app_utils.create_signed_value(secret, COOKIE, content).decode()


def test_login_from_the_first_visit_to_the_last(tab, chromium, tmp_path, monkeypatch) -> None:
    page = tab
    port, provider_port = free_ports(2)
    callback, file = f"http://localhost:{port}/oauth2callback", tmp_path / "secrets.toml"
    monkeypatch.setenv("STREAMLIT_SECRETS_FILES", str(file))
    with running_provider(provider_port) as provider:
        client = oidc_provider.register(provider, callback)
        file.write_text(oidc_provider.secrets(provider, callback, FIRST, client))
        with running_app(tmp_path / "first.log", port) as app:
            nothing_is_sent_to_who_has_not_logged_in(app, page)
            a_token_for_another_application_opens_nothing(app, page)
            a_login_holds_until_it_expires(app, page)
            a_logout_ends_it(app, page)
            log_in(page, "ada")
            is_open(page)
            another_account_finds_nothing_of_hers(app, page, chromium)
        file.write_text(oidc_provider.secrets(provider, callback, ROTATED, client))
        with running_app(tmp_path / "second.log", port) as app:
            page.goto(app.address)
            is_closed(page)  # the cookie was signed with the secret of before
            log_in(page, "ada")
            is_open(page)
        page.context.clear_cookies()
        file.write_text(oidc_provider.secrets(provider, callback, ROTATED, {"client_id": "x", "client_secret": "x"}))
        with running_app(tmp_path / "third.log", port) as app:
            page.goto(app.address)
            page.get_by_role("button", name="Log in").click()
            page.get_by_text("invalid_client").first.wait_for()  # on the provider's page
            page.goto(app.address)
            is_closed(page)


def nothing_is_sent_to_who_has_not_logged_in(app, page) -> None:
    received: list[bytes] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(bytes(frame))))
    for place in PAGES:
        page.goto(f"{app.address}/{place}")
        is_closed(page)
    assert received and not [frame for frame in received if SHOWN in frame or b"glossary" in frame]
    page.context.add_cookies([{"name": COOKIE, "value": "forged", "url": app.address}])
    page.reload()
    is_closed(page)
    page.context.clear_cookies()


def a_token_for_another_application_opens_nothing(app, page) -> None:
    page.goto(app.address)
    log_in(page, MISDIRECTED)
    page.wait_for_url(f"{app.address}/**")
    is_closed(page)


def a_login_holds_until_it_expires(app, page) -> None:
    log_in(page, "ada")
    is_open(page)
    for place in PAGES[1:-1]:
        page.goto(f"{app.address}/{place}")
        page.get_by_role("link", name="Log out").wait_for()
    cookie = next(cookie for cookie in page.context.cookies() if cookie["name"] == COOKIE)
    assert cookie["httpOnly"] and 29 * DAY < cookie["expires"] - time.time() < 31 * DAY
    for days, holds in ((29, True), (32, False)):
        page.context.add_cookies([cookie | {"value": aged(cookie["value"], FIRST, days)}])
        page.goto(app.address)
        (is_open if holds else is_closed)(page)
    page.context.clear_cookies()  # as the browser does at its date
    page.reload()
    is_closed(page)


def a_logout_ends_it(app, page) -> None:
    log_in(page, "ada")
    is_open(page)
    page.get_by_role("link", name="Log out").click()
    page.get_by_role("button", name="End session").click()  # the provider asks whether to end its session, too
    page.wait_for_url(f"{app.address}/**")
    is_closed(page)
    assert COOKIE not in {cookie["name"] for cookie in page.context.cookies()}


def another_account_finds_nothing_of_hers(app, page, chromium) -> None:
    page.goto(f"{app.address}/teach")
    page.locator(".st-key-teach_start button").click()
    page.locator(".st-key-project").wait_for()
    [name] = projects.names()
    projects.add(name, [("face", Picture("0.png", drawn("spots", 0)))])
    run = runs.create(TrainConfig(), "hers")
    write_json(run.path / "status.json", {"state": "stopped"})
    ada = records.owner(projects.folder(name))
    assert ada.id == "ada"
    records.save_owner(run.path, ada)
    with opened_tab(chromium) as other:
        other.goto(app.address)
        log_in(other, "bob")
        is_open(other)
        for visitor in (page, other):
            visitor.goto(f"{app.address}/teach?project={name}")
        page.locator("input[value=face]").wait_for()
        other.locator(".st-key-teach_start button").wait_for()  # that of who has no project
        other.evaluate(SETTLED)
        assert other.locator("input[value=face]").count() == 0
        for visitor in (page, other):
            visitor.goto(f"{app.address}/?run={run.id}")
            button = visitor.locator("[class*=st-key-resume] button")
            playwright.expect(button).to_be_enabled(enabled=visitor is page)
