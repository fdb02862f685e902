"""The system's Chromium, headless. Installed from the distribution where that is possible; elsewhere these tests say why they are skipped."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from config.outside import RunningStack
from tests.engines import RUN_DIR
from tests.promises.conftest import Shop

SCREENS = RUN_DIR / "screens"
INSTALL = "apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core"


def chromium() -> str:
    """Its path. Skips with the reason, or fails where nothing may be skipped (CI=true)."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["sh", "-c", INSTALL], check=False, timeout=300, capture_output=True)
        found = shutil.which("chromium")
    if found:
        return found
    reason = f"There is no Chromium, and it could not be installed: {INSTALL}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """Closed with its file: its event loop in this process would stop Django's ORM from working in the tests that follow."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def admin(chrome: Browser, stack: RunningStack) -> Iterator[Page]:
    """The operator, logged in. Whatever breaks in a page's script fails the test."""
    info: dict[str, Any] = stack.info
    page = chrome.new_page(viewport={"width": 1440, "height": 1000})
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(f"{info['web']}/admin/")
    page.fill("input[name=username]", info["admin"]["username"])
    page.fill("input[name=password]", info["admin"]["password"])
    page.click("button[type=submit]")
    yield page
    page.close()
    assert not broken


@pytest.fixture(scope="session")
def shop(stack: RunningStack) -> Shop:
    return Shop(stack)


def photograph(page: Page, name: str) -> Path:
    SCREENS.mkdir(parents=True, exist_ok=True)
    file = SCREENS / f"{name}.png"
    page.screenshot(path=file, full_page=True)
    return file
