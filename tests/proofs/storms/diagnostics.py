"""Diagnostics at the worst moment: what ``doctor``, ``why``, the order's page and ``/status`` say then is kept beside the stack's logs, to be read."""

import html
import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx

from tests.proofs.black_box.shop import Shop
from tests.proofs.black_box.stack import RunningStack

ANSWERED_WITHIN_S = 60.0
NO_TEXT = re.compile(r"<(script|style|nav|head)\b.*?</\1>|<[^>]*>", re.DOTALL)
UNDER_WAY = (
    "SELECT o.number FROM fulfillment_saga s JOIN orders_order o ON o.id = s.order_id ORDER BY s.closed_at IS NOT NULL, s.id DESC LIMIT 1"
)

Answer = dict[str, Any]


def operator(stack: RunningStack) -> httpx.Client:
    """Logged in, in a browser of their own."""
    info = stack.info
    browser = httpx.Client(base_url=info["web"], timeout=20, follow_redirects=True, verify=False)
    browser.get("/admin/login/").raise_for_status()
    form = {"username": info["admin"]["username"], "password": info["admin"]["password"], "next": "/admin/"}
    form["csrfmiddlewaretoken"] = browser.cookies["csrftoken"]
    browser.post("/admin/login/", data=form, headers={"Referer": f"{info['web']}/admin/login/"}).raise_for_status()
    return browser


class Diagnostics:
    """Logged in before anything is wrong. ``take`` returns at once, so that the fault lasts no longer for it; ``answers`` waits."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._browser = operator(shop.stack)
        self._pool = ThreadPoolExecutor(5)
        self._pages: dict[str, int] = {}
        self._asked: dict[str, dict[str, Future[Any]]] = {}

    def look_up(self, number: str) -> int:
        """Its page. Looked up once: before the database is out of reach, where that is the fault."""
        if number not in self._pages:
            self._pages[number] = self._shop.sql("SELECT id FROM orders_order WHERE number = %s", number)[0][0]
        return self._pages[number]

    def take(self, moment: str, number: str = "") -> None:
        """About the shop, and this order of it; or else the newest that is under way."""
        shop = self._shop
        number = number or shop.sql(UNDER_WAY)[0][0]
        pk = self.look_up(number)
        questions: dict[str, Callable[[], Any]] = {
            "doctor": lambda: _printed(shop.manage("doctor")),
            "why": lambda: _printed(shop.manage("why", number)),
            "order page": lambda: _lines(self._browser.get(f"/admin/orders/order/{pk}/change/")),
            "status": lambda: httpx.get(f"{shop.stack.info['web']}/status", timeout=20, verify=False).json(),
            "api": lambda: shop.http.get(f"/orders/{number}", params={"expand": "steps,deliveries,timeline"}).json(),
        }
        self._asked[moment] = {what: self._pool.submit(_timed, question) for what, question in questions.items()}

    def answers(self) -> dict[str, dict[str, Answer]]:
        """By moment. What was not answered is an error in its place."""
        deadline = time.monotonic() + ANSWERED_WITHIN_S
        return {moment: {what: _outcome(asked, deadline) for what, asked in of.items()} for moment, of in self._asked.items()}


def _timed(question: Callable[[], Any]) -> Answer:
    begun = time.monotonic()
    answer = question()
    return {"after_s": round(time.monotonic() - begun, 1), "answer": answer}


def _outcome(asked: "Future[Any]", deadline: float) -> Answer:
    try:
        return dict(asked.result(max(0.0, deadline - time.monotonic())))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _printed(run: "subprocess.CompletedProcess[str]") -> list[str]:
    return [*run.stdout.splitlines(), *run.stderr.splitlines()[-3:]]


def _lines(page: httpx.Response) -> list[str]:
    """What a person reads of it."""
    text = html.unescape(NO_TEXT.sub("\n", page.text))
    return [str(page.status_code), *(" ".join(line.split()) for line in text.splitlines() if line.strip())]
