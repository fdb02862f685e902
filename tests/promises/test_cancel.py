"""Promise: a cancel is honoured at the next step border, or refused with the reason; never both shipped and refunded."""

from tests.promises.conftest import Shop


def test_a_cancel_while_paying_is_honoured_at_the_next_border(shop: Shop) -> None:
    """I cancel while my card is being charged: I am charged and refunded, and nothing leaves."""
    number = shop.place(token="tok_slow_8s")
    shop.until_paying(number)

    first, second = shop.cancel(number), shop.cancel(number)

    assert (first.status_code, second.status_code) == (202, 202)
    assert shop.ends(number) == "cancelled"
    total = shop.total(number)
    assert shop.ledger(number) == [("charge", total), ("refund", total)]


def test_a_cancel_after_shipping_is_refused_with_the_reason(shop: Shop) -> None:
    """My parcel is on its way: I am told so, and keep it."""
    number = shop.place()
    shop.ends(number)

    answer = shop.cancel(number)

    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert shop.order(number)["status"] == "fulfilled"
