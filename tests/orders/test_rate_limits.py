"""Promise: a client that asks too often is told when to come back, its neighbours notice nothing, and no order is lost because nobody can count."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from orders.api import rate_limits
from orders.api.rate_limits import Store
from tests.config.bare import Broker
from tests.engines import ROOT
from tests.holding import held
from tests.orders.conftest import Client
from tests.proofs.black_box.processes import standing_still

LIMIT = 5


@pytest.fixture(scope="module")
def a_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    one = Broker(tmp_path_factory.mktemp("store"))
    yield one
    one.end()


@pytest.fixture
def counted(a_store: Broker, settings: Any) -> Broker:
    """Five requests of each scope a minute."""
    a_store.clear()
    rate_limits.store.cache_clear()
    settings.RATE_LIMIT_URL = a_store.url
    settings.RATE_LIMITS_PER_MIN = dict.fromkeys(settings.RATE_LIMITS_PER_MIN, LIMIT)
    return a_store


def limits_of(answer: Any) -> tuple[str, str, str]:
    return tuple(answer.headers.get(f"RateLimit-{name}", "") for name in ("Policy", "Limit", "Remaining"))


def test_every_answer_says_what_is_left_and_the_last_one_when_to_come_back(counted: Broker, client: Client) -> None:
    answers = [client.get("/orders") for _ in range(LIMIT + 1)]

    assert [answer.status_code for answer in answers] == [200] * LIMIT + [429]
    assert [limits_of(answer) for answer in answers] == [("5;w=60", "5", left) for left in ("4", "3", "2", "1", "0", "0")]
    refused = answers[-1]
    assert 0 < int(refused.headers["Retry-After"]) == int(refused.headers["RateLimit-Reset"]) <= 60
    document = refused.json()
    assert (refused.headers["Content-Type"], document["status"], document["code"]) == ("application/problem+json", 429, "throttled")
    assert document["request_id"] == refused.headers["X-Request-ID"]
    assert document["detail"].startswith("A client may send 5 requests of orders:read a minute. Nothing was done. ")


def test_each_scope_is_counted_apart(counted: Broker, client: Client, body: dict[str, Any]) -> None:
    """My dashboard has read too much; my customers still order."""
    for _ in range(LIMIT + 1):
        client.get("/orders")

    placed = client.post(body)

    assert (placed.status_code, limits_of(placed)[2]) == (201, "4")
    assert client.get("/products").status_code == 200
    assert client.api.post(f"/api/v1/orders/{placed.json()['number']}/cancel").status_code < 300
    assert client.get(f"/orders/{placed.json()['number']}").status_code == 429


def test_each_client_is_counted_apart_whatever_tokens_it_has(counted: Broker, client: Client) -> None:
    """A rotation is no way around the limit, and nobody pays for a neighbour."""
    for _ in range(LIMIT):
        client.get("/orders")
    twin = client.another_token()

    assert twin.get("/api/v1/orders").status_code == 429
    assert Client("other-shop").get("/orders").status_code == 200


def test_the_window_ends_and_the_client_is_served_again(counted: Broker, client: Client) -> None:
    for _ in range(LIMIT + 1):
        client.get("/orders")
    (key,) = counted.client.keys("shop:rate:*")
    assert 0 < counted.client.pttl(key) <= 60_000

    counted.client.pexpire(key, 1)
    time.sleep(0.01)

    assert client.get("/orders").status_code == 200


def test_zero_is_no_limit_and_costs_no_question(counted: Broker, client: Client, settings: Any) -> None:
    settings.RATE_LIMITS_PER_MIN = dict.fromkeys(settings.RATE_LIMITS_PER_MIN, 0)

    answers = [client.get("/orders") for _ in range(LIMIT + 1)]

    assert {answer.status_code for answer in answers} == {200}
    assert limits_of(answers[0]) == ("", "", "")
    assert counted.client.keys("shop:rate:*") == []


def test_what_is_refused_before_has_no_count(counted: Broker, client: Client) -> None:
    """Without a token nobody is counted, and without the scope nothing of it is spent."""
    client.api.credentials(HTTP_AUTHORIZATION="Bearer nonsense")

    assert client.get("/orders").status_code == 401
    assert counted.client.keys("shop:rate:*") == []


@pytest.mark.parametrize("method", ["OPTIONS", "DELETE", "PATCH"])
def test_whatever_a_token_is_read_for_counts(counted: Broker, client: Client, method: str) -> None:
    """A method that a route does not have, and OPTIONS, cost the shop what a request costs: they count as its reading does."""
    answers = [client.api.generic(method, "/api/v1/orders") for _ in range(LIMIT + 1)]

    assert [answer.status_code for answer in answers] == [200 if method == "OPTIONS" else 405] * LIMIT + [429]
    assert client.get("/orders").status_code == 429
    assert [client.api.generic(method, "/api/v1/orders/ORD-1/cancel").status_code for _ in range(LIMIT + 1)][-1] == 429


COUNTING = """
import os, sys, django
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
from orders.api.rate_limits import Store
store = Store(sys.argv[1])
windows = [store.count("7:orders:write", 100) for _ in range(50)]
print(sum(window.taken <= window.limit for window in windows))
"""


def test_of_all_processes_and_threads_together_exactly_so_many_pass(counted: Broker) -> None:
    """Four processes ask fifty times each, and eight threads of one process beside them: of all that a hundred pass."""
    words = [sys.executable, "-c", COUNTING, counted.url]
    others = [subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    store = Store(counted.url)

    with ThreadPoolExecutor(8) as threads:
        mine = list(threads.map(lambda _: store.count("7:orders:write", 100), range(80)))
    theirs = [int(other.communicate(timeout=120)[0]) for other in others]

    assert sum(window is not None and window.taken <= window.limit for window in mine) + sum(theirs) == 100


# --- the store is away -----------------------------------------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "orders.api.rate_limits"]


def test_where_nobody_can_count_requests_pass_and_one_line_says_so(
    client: Client, settings: Any, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.RATE_LIMIT_URL = f"redis+socket://{tmp_path}/nobody"
    settings.RATE_LIMITS_PER_MIN = dict.fromkeys(settings.RATE_LIMITS_PER_MIN, 1)

    answers = [client.get("/orders") for _ in range(3)]

    assert {answer.status_code for answer in answers} == {200}
    assert limits_of(answers[0]) == ("", "", "")
    assert lines(caplog) == ["rate limits are not in force for 5 s: their store does not answer (ConnectionError)"]


def test_a_store_that_stands_still_costs_one_request_a_quarter_of_a_second(
    counted: Broker, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with standing_still([counted.children[0].pid]):
        began = time.monotonic()
        answers = [client.get("/orders") for _ in range(5)]

    assert {answer.status_code for answer in answers} == {200}
    assert time.monotonic() - began < 2
    assert len(lines(caplog)) == 1


@pytest.mark.parametrize("command", [("REPLICAOF", "127.0.0.1", "9"), ("CONFIG", "SET", "maxmemory", "1mb")], ids=["replica", "full"])
def test_a_store_that_takes_no_writes_counts_nobody_and_refuses_nobody(counted: Broker, client: Client, command: Any) -> None:
    counted.client.execute_command(*command)
    try:
        assert client.get("/orders").status_code == 200
    finally:
        counted.client.execute_command("REPLICAOF", "NO", "ONE")
        counted.client.config_set("maxmemory", "0")


def test_a_store_that_is_back_counts_again(counted: Broker, client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(rate_limits, "LEFT_ALONE_S", 0.0)
    with standing_still([counted.children[0].pid]):
        assert client.get("/orders").status_code == 200

    assert limits_of(client.get("/orders"))[1] == "5"


@pytest.mark.django_db(transaction=True)
def test_the_answer_of_a_request_that_was_counted_says_so_whatever_it_is(counted: Broker, client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
    with held("LOCK TABLE orders_order IN ACCESS EXCLUSIVE MODE"):
        answer = client.get("/orders")
    with connection.cursor() as cursor:
        cursor.execute("RESET lock_timeout")

    assert (answer.status_code, limits_of(answer)[2]) == (503, "4")
