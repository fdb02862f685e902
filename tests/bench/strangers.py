"""Strangers who are busy with the shop while its clients place orders: slow connections, and people who log in. They are a process of their own, so that they take
no time from the clients that are measured.
"""

import contextlib
import http.client
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from tests.edge.slow_clients import BEGINNINGS, send_slowly
from tests.proofs.black_box.stack import FOLDER

LOGIN = "/admin/login/"
AGAIN_AFTER_S = 1.0  # as the shop's Retry-After says
ANSWERED_WITHIN_S = 60.0
ENDED_WITHIN_S = 90.0


@contextlib.contextmanager
def strangers(what: str, **of_them: Any) -> Iterator[Callable[[], str]]:
    """``what``: "slow" or "logins", with ``port`` and ``count``. At the end of the block they leave; then the function says what became of them."""
    words = [sys.executable, "-m", "tests.bench.strangers"]
    process = subprocess.Popen(words, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps({"what": what, **of_them}) + "\n")
    process.stdin.flush()
    process.stdout.readline()  # all of them are there
    told: list[str] = []
    try:
        yield lambda: told[0]
    finally:
        told.append(process.communicate(timeout=ENDED_WITHIN_S)[0].strip())


def main() -> None:
    """On the first line of its input stands who they are. At the end of the input they leave."""
    asked = json.loads(sys.stdin.readline())
    is_over = threading.Event()
    with ThreadPoolExecutor(asked["count"]) as pool:
        ended = [pool.submit(WHAT[asked["what"]], number, asked, is_over) for number in range(asked["count"])]
        print("begun", flush=True)
        sys.stdin.read()
        is_over.set()
    seen = sum((one.result() for one in ended), Counter[str]())
    print(", ".join(f"{count} {what}" for what, count in sorted(seen.items())))


def _is_slow(number: int, asked: dict[str, Any], is_over: threading.Event) -> Counter[str]:
    """Every other one with a head, the others with a body."""
    kind = list(BEGINNINGS)[number % 2]
    return Counter({f"connections with slow {kind}": send_slowly(asked["port"], BEGINNINGS[kind], is_over)})


def _logs_in(number: int, asked: dict[str, Any], is_over: threading.Event) -> Counter[str]:
    """The right password, over and over, each time as somebody who is not logged in."""
    seen = Counter[str]()
    connection = http.client.HTTPConnection("127.0.0.1", asked["port"], timeout=ANSWERED_WITHIN_S)
    token = _form_token(connection)
    form = urlencode({"username": asked["username"], "password": asked["password"], "csrfmiddlewaretoken": token, "next": "/admin/"})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": f"csrftoken={token}"}
    while not is_over.is_set():
        seen[_answer_to(connection, form, headers)] += 1
        is_over.wait(AGAIN_AFTER_S)
    return seen


def _form_token(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", LOGIN)
    page = connection.getresponse()
    page.read()
    return SimpleCookie(page.headers["Set-Cookie"])["csrftoken"].value


def _answer_to(connection: http.client.HTTPConnection, form: str, headers: dict[str, str]) -> str:
    try:
        connection.request("POST", LOGIN, form, headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return "logins without an answer"
    return {302: "logins succeeded", 429: "logins told to come again"}.get(answer.status, f"logins answered {answer.status}")


WHAT = {"slow": _is_slow, "logins": _logs_in}

if __name__ == "__main__":
    main()
