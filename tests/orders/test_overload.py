"""Promise: while more orders wait than the shop gets through in good time, new ones are refused at once and told when to come again; nothing else is refused."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from config import broker
from config.management.commands.sweep import Sweep
from fulfillment.code_release import RELEASE
from fulfillment.findings import numbers
from orders import overload
from orders.findings import backlog
from orders.incidents import Incident
from orders.models import Order
from orders.turns import Turn
from tests.orders.conftest import Client
from tests.shop_clock import ShopClock

LIMIT, LEFT = 1000, 800
RETRY_AFTER = "10"


@pytest.fixture(autouse=True)
def limit(db: None, settings: Any) -> None:
    settings.BACKLOG_LIMIT = LIMIT


@pytest.fixture
def swept(clock: ShopClock, monkeypatch: pytest.MonkeyPatch) -> ShopClock:
    """A sweep is at work, and no refusal of an earlier test is still to be written."""
    monkeypatch.setattr(overload, "count_refusal", overload._Refusals().count)
    assert Turn("sweep", RELEASE).take()
    return clock


def test_above_the_bound_a_new_order_is_refused_and_below_it_taken_again(client: Client, body: dict[str, Any], swept: ShopClock) -> None:
    """I am told when to come again, and under the same key I get my order then."""
    overload.judge(LIMIT + 1)

    refused = client.post(body, "k-1")

    document = refused.json()
    assert (refused.status_code, refused.headers["Retry-After"], refused.headers["Content-Type"]) == (
        503,
        RETRY_AFTER,
        "application/problem+json",
    )
    assert (document["type"], document["code"]) == ("/problems/overloaded", "overloaded")
    assert "Nothing was placed" in document["detail"]
    assert Order.objects.count() == 0

    overload.judge(LEFT)
    assert client.post(body, "k-1").status_code == 201


def test_a_retry_a_read_and_a_cancel_are_served_meanwhile(client: Client, body: dict[str, Any], swept: ShopClock) -> None:
    """My order is there, and I am not kept from it by those of others."""
    number = client.post(body, "k-1").json()["number"]
    overload.judge(LIMIT + 1)

    again = client.post(body, "k-1")

    assert (again.status_code, again.json()["number"], again.headers["Idempotent-Replayed"]) == (201, number, "true")
    assert client.get(f"/orders/{number}").status_code == 200
    assert client.get("/orders").status_code == 200
    assert client.get("/products").status_code == 200
    assert client.api.post(f"/api/v1/orders/{number}/cancel").status_code in (200, 202)


def test_what_is_wrong_with_an_order_is_told_all_the_same(client: Client, body: dict[str, Any], swept: ShopClock) -> None:
    """To come again with it would be no use."""
    overload.judge(LIMIT + 1)

    assert client.post(body | {"lines": []}).status_code == 400
    assert client.post(body | {"lines": [{"sku": "GONE", "quantity": 1}]}).status_code == 400


@pytest.mark.parametrize(
    ("lengths", "is_refused"),
    [
        ([LIMIT], False),
        ([LIMIT + 1], True),
        ([LIMIT + 1, LIMIT], True),
        ([LIMIT + 1, LEFT + 1], True),
        ([LIMIT + 1, LEFT], False),
        ([LIMIT + 1, LEFT, LIMIT], False),
        ([LIMIT + 1, None], True),
        ([None], False),
    ],
    ids=["at the bound", "above", "not yet far enough below", "nearly", "worked off", "above what ends it", "nobody knows", "never known"],
)
def test_it_begins_above_the_bound_and_ends_below_four_fifths(lengths: list[int | None], is_refused: bool) -> None:
    """Else the shop would open and close with every order."""
    for waiting in lengths:
        overload.judge(waiting)

    assert (overload.refusing() is not None) is is_refused


def test_without_a_bound_no_order_is_refused(client: Client, body: dict[str, Any], swept: ShopClock, settings: Any) -> None:
    """Also where one was in force until now."""
    overload.judge(LIMIT + 1)
    settings.BACKLOG_LIMIT = 0

    overload.judge(10 * LIMIT)

    assert client.post(body).status_code == 201


def test_once_no_sweep_judges_any_more_orders_are_taken(client: Client, body: dict[str, Any], swept: ShopClock) -> None:
    """A shop whose sweep has died is not closed for ever because of a queue that has long been worked off."""
    overload.judge(LIMIT + 1)
    swept.passes(29)
    assert client.post(body).status_code == 503

    swept.passes(5)
    assert client.post(body).status_code == 201


def test_a_person_is_notified_once_and_sees_how_many_were_refused(
    client: Client, body: dict[str, Any], swept: ShopClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(overload, "SAVED_EVERY_S", 0.0)
    for waiting in (LIMIT + 1, LIMIT + 500, LIMIT + 2):
        overload.judge(waiting)

    for _ in range(3):
        assert client.post(body).status_code == 503
    swept.passes(20)

    incident = Incident.objects.get()
    assert (incident.kind, incident.subject, incident.count) == ("overloaded", "saga", 3)
    assert incident.sentence == (
        "New orders are refused, because too many wait (1,001 orders wait for a worker, and 1,000 may). No money is at risk."
    )
    call_command("incidents")
    assert "overloaded · 3 orders · no money at risk" in capsys.readouterr().out
    assert numbers.numbers()["overload"] == {"for_s": 20.0, "refused": 3}
    (finding,) = backlog.backlog(LIMIT + 2)
    assert (finding.level, finding.runbook) == ("FAIL", "docs/runbooks/overloaded.md")
    assert finding.found == "new orders are refused for 20.0 s (3 so far): 1,002 orders wait, until 800 are left"


@pytest.mark.parametrize("page", ["/admin/", "/admin/orders/order/"])
def test_an_operator_sees_it_in_the_admin(operator: Browser, swept: ShopClock, page: str) -> None:
    assert "New orders are refused" not in operator.get(page).content.decode()

    overload.judge(LIMIT + 1)

    assert "New orders are refused since 2027-01-04 09:00 UTC" in operator.get(page).content.decode()


@pytest.mark.parametrize(
    ("waiting", "level", "found"),
    [
        (0, "ok", "0 orders wait for a worker; above 1,000 new ones are refused"),
        (LEFT, "ok", "800 orders wait for a worker; above 1,000 new ones are refused"),
        (LEFT + 1, "warn", "801 orders wait for a worker; above 1,000 new ones are refused"),
    ],
)
def test_doctor_warns_before_it_begins(waiting: int, level: str, found: str) -> None:
    (finding,) = backlog.backlog(waiting)

    assert (finding.level, finding.found) == (level, found)


def test_doctor_says_nothing_of_a_queue_that_nobody_can_see() -> None:
    assert list(backlog.backlog(None)) == []


def test_refusals_are_written_by_the_second_and_not_by_the_order(
    client: Client, body: dict[str, Any], swept: ShopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is overloaded has no transaction to spare."""
    monkeypatch.setattr(overload, "SAVED_EVERY_S", 60.0)
    overload.judge(LIMIT + 1)

    with CaptureQueriesContext(connection) as ran:
        for _ in range(10):
            client.post(body)

    written = [query["sql"] for query in ran if query["sql"].lstrip().startswith(("UPDATE orders_incident", "INSERT"))]
    assert len(written) == 1
    assert Incident.objects.get().count == 1


def test_an_order_that_is_taken_costs_no_statement_more(client: Client, body: dict[str, Any], swept: ShopClock) -> None:
    """It is read with the order's number."""
    client.post(body)
    with CaptureQueriesContext(connection) as ran:
        assert client.post(body).status_code == 201

    assert len([query for query in ran if "overloaded" in query["sql"]]) == 1
    assert len([query for query in ran if "nextval" in query["sql"]]) == 1


def test_a_round_of_the_sweep_judges(swept: ShopClock, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = iter([LIMIT + 1, None, LEFT])
    monkeypatch.setattr(broker.QueueLength, "ask", lambda self: next(lengths))
    sweep = Sweep(lambda _: None)

    seen = []
    for _ in range(3):
        sweep._round()
        seen.append(overload.refusing() is not None)

    assert seen == [True, True, False]


def test_a_broker_that_is_away_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that asks it in every round would do nothing else."""
    asked: list[Any] = []
    connect: Callable[[Any], None] = broker._connect

    def counted(line: Any) -> None:
        asked.append(line)
        connect(line)

    monkeypatch.setattr(broker, "_connect", counted)
    length = broker.QueueLength("saga")

    assert [length.ask() for _ in range(3)] == [None, None, None]
    assert len(asked) == 1


def test_many_threads_count_each_refusal_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "SAVED_EVERY_S", 0.0)
    refusals, found = overload._Refusals(), []

    def refuse() -> None:
        found.append(refusals._one_more())

    threads = [threading.Thread(target=refuse) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(found) == 20
