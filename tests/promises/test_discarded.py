"""Promise: a message that an operator has discarded, or a worker that was told to stop listening, costs an order time only, and somebody hears of it."""

import pytest

from tests.promises.conftest import Shop


def control(shop: Shop, *words: str) -> None:
    """``celery control``, in another terminal."""
    run = shop.python("-m", "celery", "-A", "config", "control", "--timeout", "3", *words)
    assert run.returncode == 0, run.stdout + run.stderr


def next_number(shop: Shop) -> str:
    ((last,),) = shop.sql("SELECT last_value FROM orders_order_number")
    return f"ORD-{last + 1}"


def test_an_order_whose_task_id_was_revoked_beforehand_is_fulfilled(shop: Shop) -> None:
    """Somebody revoked the very task that my order would have begun with: it is published again under another id, and I am charged once."""
    number = next_number(shop)
    control(shop, "revoke", f"{number}.payment.e1")

    assert shop.place() == number

    assert shop.ends(number) == "fulfilled"
    assert shop.kinds(number).count("relaunch") == 1
    assert [operation for operation, _ in shop.ledger(number)] == ["charge", "label"]


@pytest.mark.parametrize("number_of_signal", ["SIGTERM", "SIGKILL"])
def test_a_task_that_is_terminated_in_the_middle_of_its_charge_is_tried_again(shop: Shop, number_of_signal: str) -> None:
    """Flower's "terminate" ends the process, and perhaps no errback fires: the history says what stopped, and the same key makes it one charge."""
    number = shop.place(token="tok_slow_8s")
    shop.until_paying(number)

    control(shop, "terminate", number_of_signal, f"{number}.payment.e1")

    assert shop.ends(number) == "fulfilled"
    assert max(entry["epoch"] for entry in shop.order(number)["timeline"]) > 1
    assert {"take_over", "in_doubt"} & {entry[what] for entry in shop.order(number)["timeline"] for what in ("kind", "to")}
    assert [operation for operation, _ in shop.ledger(number)] == ["charge", "label"]


def test_a_worker_that_was_told_to_leave_its_queue_comes_back_to_it(shop: Shop) -> None:
    """It lives, answers, and does nothing: its watchdog sees that messages wait, and it is started again."""
    before = shop.stack.pid("saga")
    control(shop, "cancel_consumer", "saga")

    number = shop.place()

    assert shop.ends(number, 60) == "fulfilled"
    assert shop.stack.pid("saga") != before
