"""The system's Chromium, headless. Installed from the distribution where that is possible; elsewhere these tests say why they are skipped."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.debian import needed
from tests.engines import RUN_DIR
from tests.promises.conftest import Shop
from tests.proofs.black_box.stack import RunningStack

SCREENS = RUN_DIR / "screens"


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """Closed with its file: its event loop in this process would stop Django's ORM from working in the tests that follow."""
    path = needed(_chromium, "chromium fonts-dejavu-core", "Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def admin(chrome: Browser, stack: RunningStack) -> Iterator[Page]:
    """The operator, logged in. Whatever breaks in a page's script, or is refused by the content security policy, fails the test."""
    info: dict[str, Any] = stack.info
    page = chrome.new_page(viewport={"width": 1440, "height": 1000}, http_credentials=info["flower_login"] | {"origin": info["flower"]})
    broken = refused_by_policy(page)
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(f"{info['web']}/admin/")
    page.fill("input[name=username]", info["admin"]["username"])
    page.fill("input[name=password]", info["admin"]["password"])
    page.click("button[type=submit]")
    yield page
    page.close()
    assert broken == []


@pytest.fixture(scope="module")
def orm_beside_playwright() -> Iterator[None]:
    """Django would see playwright's event loop in this thread, and refuse to work beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield


def refused_by_policy(page: Page) -> list[str]:
    """What the console tells of the content security policy, from now on."""
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if "Content Security Policy" in message.text else None)
    return refused


@pytest.fixture(scope="session")
def shop(stack: RunningStack) -> Shop:
    return Shop(stack)


def photograph(page: Page, name: str) -> Path:
    SCREENS.mkdir(parents=True, exist_ok=True)
    file = SCREENS / f"{name}.png"
    page.screenshot(path=file, full_page=True)
    return file
