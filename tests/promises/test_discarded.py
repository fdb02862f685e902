"""Promise: a message that an operator has discarded, or a worker that was told to stop listening, costs an order time only, and somebody hears of it."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from tests.promises.conftest import Shop


@pytest.fixture
def control(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What ``celery control`` and Flower's buttons send."""
    monkeypatch.delenv("CELERY_BROKER_URL")  # Celery would take it for every app's broker
    with Celery("elsewhere", broker=shop.stack.info["broker"], set_as_current=False) as elsewhere:
        yield elsewhere.control


def next_number(shop: Shop) -> str:
    """Of the order that is placed next."""
    ((following,),) = shop.sql("SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM orders_order_number")
    return f"ORD-{following}"


def test_an_order_whose_task_id_was_revoked_beforehand_is_fulfilled(shop: Shop, control: Any) -> None:
    """Somebody revoked the very task that my order would have begun with: it is published again under another id, and I am charged once."""
    number = next_number(shop)
    assert control.revoke(f"{number}.payment.e1", reply=True)

    assert shop.place() == number

    assert shop.ends(number) == "fulfilled"
    assert shop.kinds(number).count("relaunch") == 1
    assert [operation for operation, _ in shop.ledger(number)] == ["charge", "label"]


@pytest.mark.parametrize("number_of_signal", ["SIGTERM", "SIGKILL"])
def test_a_task_that_is_terminated_in_the_middle_of_its_charge_is_tried_again(shop: Shop, control: Any, number_of_signal: str) -> None:
    """Flower's "terminate" ends the process, and perhaps no errback fires: the history says what stopped, and the same key makes it one charge."""
    number = shop.place(token="tok_slow_8s")
    shop.until_paying(number)

    control.terminate(f"{number}.payment.e1", signal=number_of_signal)

    assert shop.ends(number) == "fulfilled"
    assert max(entry["epoch"] for entry in shop.order(number)["timeline"]) > 1
    assert {"take_over", "in_doubt"} & {entry[what] for entry in shop.order(number)["timeline"] for what in ("kind", "to")}
    assert [operation for operation, _ in shop.ledger(number)] == ["charge", "label"]


def test_a_worker_that_was_told_to_leave_its_queue_comes_back_to_it(shop: Shop, control: Any) -> None:
    """It lives, answers, and does nothing: its watchdog sees that messages wait, and it is started again."""
    before = shop.stack.pid("saga")
    assert control.cancel_consumer("saga", reply=True)

    number = shop.place()

    assert shop.ends(number, 60) == "fulfilled"
    assert shop.stack.pid("saga") != before
