"""The app below a path behind nginx, in frames of its own and of another site, and behind a small limit of bodies."""

import io

import numpy as np
import pytest
from nginx_proxy import NGINX, PATH, running_nginx
from oidc_provider import register, running_provider, secrets
from PIL import Image
from playwright import sync_api as playwright
from real_browser import CHROMIUM, MARKS, PATIENCE, free_ports

from cifar_core.bench_browser import running_app

pytestmark = [*MARKS, pytest.mark.skipif(NGINX is None, reason="nginx is not installed")]


def photo(side: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (side, side, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def page(tmp_path):
    """A browser that lets a frame of another site keep cookies, which Chromium does not by default."""
    profile = tmp_path / "profile" / "Default"
    profile.mkdir(parents=True)
    (profile / "Preferences").write_text('{"profile": {"block_third_party_cookies": false, "cookie_controls_mode": 0}}')
    with playwright.sync_playwright() as starting:
        browser = starting.chromium.launch_persistent_context(
            str(profile.parent),
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-features=TrackingProtection3pcd"],
            ignore_https_errors=True,
            viewport={"width": 1280, "height": 1000},
            timeout=PATIENCE,
        )
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


def upload(place, side: int) -> None:
    place.locator(".st-key-drop_zone input[type=file]").set_input_files(
        {"name": "noise.png", "mimeType": "image/png", "buffer": photo(side)}
    )


def is_classified(place) -> None:
    place.locator(".bars").first.wait_for()


def is_refused(place, status: str) -> None:
    """The file is refused with `status`, and below it stands what that means."""
    place.get_by_role("alert").get_by_text(status).wait_for(state="attached")
    said = "place => getComputedStyle(place, '::after').content"
    assert status in place.locator(".st-key-drop_zone [data-testid=stFileUploader]").evaluate(said)


def test_below_a_path_in_frames_and_behind_a_small_limit(page, recorded_run, tmp_path, monkeypatch) -> None:
    app_port, port, small, https, provider_port = free_ports(5)
    address, frame = f"http://localhost:{port}{PATH}", page.frame_locator("iframe")
    with running_nginx(tmp_path, app_port, {port: "200m", small: "1m", https: "200m"}, https):
        with running_app(tmp_path / "app.log", app_port, PATH):
            pages_components_downloads_and_uploads_work(page, address, recorded_run)
            page.goto(f"http://localhost:{small}{PATH}/classify")
            upload(page, 1_000)
            is_refused(page, "413")
            page.goto(f"http://localhost:{port}/frame?of={address}/classify")
            upload(frame, 64)
            is_classified(frame)
            page.goto(
                f"http://127.0.0.1:{port}/frame?of={address}/classify"
            )  # another site: the browser does not send the cookie
            upload(frame, 64)
            is_refused(frame, "403")
        monkeypatch.setenv("STREAMLIT_SERVER_XSRF_COOKIE_SAME_SITE", "none")
        with running_app(tmp_path / "none.log", app_port, PATH):
            page.goto(f"http://127.0.0.1:{port}/frame?of=https://localhost:{https}{PATH}/classify")
            upload(frame, 64)
            is_classified(frame)
        with running_provider(provider_port) as provider:
            callback, file = f"{address}/oauth2callback", tmp_path / "secrets.toml"
            file.write_text(secrets(provider, callback, "a long secret" * 4, register(provider, callback)))
            monkeypatch.setenv("STREAMLIT_SECRETS_FILES", str(file))
            with running_app(tmp_path / "login.log", app_port, PATH):
                page.goto(f"{address}/learn")
                page.get_by_role("button", name="Log in").click()
                page.locator("input[name=sub]").fill("ada")
                page.get_by_role("button", name="Authorize", exact=True).click()
                page.get_by_role("link", name="Log out").wait_for()
                page.wait_for_url(f"{address}/**")


def pages_components_downloads_and_uploads_work(page, address: str, run) -> None:
    page.goto(f"{address}/?run={run.id}")
    page.locator(".live-chart").first.wait_for()
    with page.expect_download() as download:
        page.locator(".st-key-share_card button").first.click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    page.get_by_role("link", name="Classify").click()
    page.wait_for_url(f"{address}/classify**")
    page.get_by_role("button", name="coffee").click()  # a tile of a component
    is_classified(page)
    page.get_by_role("button", name="Clear").click()
    page.locator(".bars").first.wait_for(state="detached")
    upload(page, 64)
    is_classified(page)
