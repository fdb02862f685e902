"""Promise: stock changes by movements with a reason. Nobody who counts overwrites somebody else, and what was sold meanwhile does not come back."""

import pytest
from django.test import Client as Browser

from fulfillment import stock
from fulfillment.models import StockLevel, StockMovement
from orders.models import Product
from tests.orders.admin_form import Form, opened
from tests.orders.conftest import Client, browser_of

LIST = "/admin/fulfillment/stocklevel/"


def page_of(sku: str) -> str:
    return f"{LIST}{StockLevel.objects.get(sku=sku).pk}/change/"


def numbers(sku: str = "TENT") -> tuple[int, int]:
    return StockLevel.objects.values_list("on_hand", "reserved").get(sku=sku)


def booked(sku: str = "TENT") -> list[tuple[str, int, int, str]]:
    """Without the first, by which there is anything at all."""
    rows = StockMovement.objects.filter(level__sku=sku).order_by("id")
    return list(rows.values_list("reason", "pieces", "on_hand", "actor"))[1:]


def is_conserved(sku: str = "TENT") -> bool:
    moved = sum(StockMovement.objects.filter(level__sku=sku).values_list("pieces", flat=True))
    return bool(moved == StockLevel.objects.get(sku=sku).on_hand)


def sold(pieces: int) -> None:
    """They have left with an order."""
    stock.reserve("ORD-1", {"TENT": pieces})
    stock.consume("ORD-1")


@pytest.fixture
def tents(operator: Browser) -> Form:
    """Ten are on hand."""
    return opened(operator, page_of("TENT"))


@pytest.mark.parametrize(
    ("reason", "pieces", "change", "left"), [("received", 5, 5, 15), ("returned", 1, 1, 11), ("damaged", 2, -2, 8), ("counted", 7, -3, 7)]
)
def test_stock_changes_by_a_movement_with_a_reason(tents: Form, reason: str, pieces: int, change: int, left: int) -> None:
    """I see on the same page what was booked, by whom, and what there is now."""
    after = tents.send(reason=reason, pieces=pieces, note="delivery 2026-114")

    assert numbers() == (left, 0)
    assert booked() == [(reason, change, left, "operator")]
    assert is_conserved()
    assert "delivery 2026-114" in after.text
    assert f"{change:+d}" in after.text


def test_no_field_of_the_page_is_the_number_itself(tents: Form, operator: Browser) -> None:
    assert "on_hand" not in tents.fields

    tents.send(on_hand=50, reserved=3)

    assert numbers() == (10, 0)


def test_two_people_who_count_overwrite_nothing(operator: Browser, tents: Form) -> None:
    """Both have opened the page at ten. The first has counted twelve; the second reads both numbers and counts again."""
    other = opened(operator, page_of("TENT"))
    other.send(reason="counted", pieces=12)

    refused = tents.send(reason="counted", pieces=9)

    assert numbers() == (12, 0)
    assert "10 on hand then, 12 now" in refused.text
    assert "Nothing was recorded" in refused.text


def test_what_was_sold_while_somebody_counted_does_not_come_back(tents: Form) -> None:
    sold(3)

    refused = tents.send(reason="counted", pieces=10)

    assert numbers() == (7, 0)
    assert booked() == []
    assert "10 on hand then, 7 now" in refused.text


def test_a_refused_count_is_not_recorded_by_pressing_once_more(tents: Form) -> None:
    """The number is empty on the page that comes back. Whoever counts again, from what is there now, is believed."""
    sold(3)
    refused = tents.send(reason="counted", pieces=10)
    assert refused.fields["pieces"] == ""

    refused.send()
    assert numbers() == (7, 0)
    refused.send(pieces=8)
    assert numbers() == (8, 0)


def test_stock_that_has_moved_and_is_the_same_again_has_moved(operator: Browser, tents: Form) -> None:
    """One came in and one was sold: a count between both would have seen eleven or nine."""
    sold(1)
    opened(operator, page_of("TENT")).send(reason="received", pieces=1)

    refused = tents.send(reason="counted", pieces=9)

    assert numbers() == (10, 0)
    assert "10 on hand then, 10 now" in refused.text


def test_what_comes_in_or_goes_needs_no_page_of_this_moment(tents: Form) -> None:
    """A delivery of five is five, whatever was sold meanwhile."""
    sold(3)

    tents.send(reason="received", pieces=5)

    assert numbers() == (12, 0)


def test_a_form_that_is_sent_twice_moves_stock_once(tents: Form) -> None:
    """I have pressed the button twice."""
    tents.send(reason="received", pieces=5)
    again = tents.send(reason="received", pieces=5)

    assert numbers() == (15, 0)
    assert "recorded already" in again.text


def test_a_form_that_was_sent_and_is_changed_and_sent_again_says_so(tents: Form) -> None:
    """I went back in the browser, and made seven of five."""
    tents.send(reason="received", pieces=5)
    again = tents.send(reason="received", pieces=7)

    assert numbers() == (15, 0)
    assert "This form has recorded another movement already" in again.text


@pytest.mark.parametrize(
    ("reason", "pieces", "message"),
    [
        ("damaged", 7, "Orders under way hold 4 of the 10 on hand: at most 6 can go."),
        ("counted", 3, "Orders under way hold 4: there cannot be fewer on hand."),
        ("received", 0, "1 or more"),
        ("received", 10_000_000, "At most 1,000,000"),
        ("", 5, "required"),
        ("lost", 5, "not one of the available choices"),
    ],
)
def test_a_movement_has_bounds(operator: Browser, tents: Form, reason: str, pieces: int, message: str) -> None:
    stock.reserve("ORD-1", {"TENT": 4})
    page = opened(operator, page_of("TENT"))

    answer = page.send(reason=reason, pieces=pieces)

    assert message in answer.text
    assert numbers() == (10, 4)
    assert booked() == []


@pytest.mark.parametrize("written", ["1.000", "1,000", "5.0", "1_0", "٣", "-5", "+5", "1e3", "0x5", "", "five"])
def test_pieces_are_digits_alone(tents: Form, written: str) -> None:
    """1.000 is a thousand to one of us and one to another."""
    answer = tents.send(reason="received", pieces=written)

    assert numbers() == (10, 0)
    assert "in digits alone" in answer.text or "required" in answer.text


@pytest.mark.parametrize("note", ["4111 1111 1111 1111", "wet\u202e", "line\x1bbreak"])
def test_a_note_holds_no_card_number_and_nothing_that_hides(tents: Form, note: str) -> None:
    tents.send(reason="damaged", pieces=1, note=note)

    assert booked() == []


def test_a_form_of_an_older_release_changes_nothing(operator: Browser, tents: Form) -> None:
    operator.post(page_of("TENT"), {"on_hand": 50})

    assert numbers() == (10, 0)


def test_a_new_level_is_of_a_product_and_begins_empty(operator: Browser) -> None:
    """Then the page asks what has come in."""
    Product.objects.create(sku="LAMP", name="Lamp", price_minor=4_990, currency="EUR")
    add = f"{LIST}add/"

    assert "No product has this SKU" in opened(operator, add).send(sku="LMAP").text
    page = opened(operator, add).send(sku="LAMP")

    assert numbers("LAMP") == (0, 0)
    Form(operator, page_of("LAMP"), page.text).send(reason="received", pieces=4)
    assert numbers("LAMP") == (4, 0)
    assert StockMovement.objects.filter(level__sku="LAMP").values_list("reason", "pieces").get() == ("received", 4)


def test_movements_are_read_and_never_edited(operator: Browser, tents: Form) -> None:
    """Not even by a superuser."""
    tents.send(reason="received", pieces=5, note="delivery 2026-114")
    movement = StockMovement.objects.latest("id")
    base = f"/admin/fulfillment/stockmovement/{movement.pk}"

    assert "delivery 2026-114" in operator.get("/admin/fulfillment/stockmovement/?q=TENT").content.decode()
    assert operator.get(f"{base}/change/").status_code == 200
    answers = [
        operator.post(f"{base}/change/", {"pieces": 50}),
        operator.post(f"{base}/delete/", {"post": "yes"}),
        operator.get("/admin/fulfillment/stockmovement/add/"),
        operator.post(page_of("TENT").replace("change", "delete"), {"post": "yes"}),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert booked() == [("received", 5, 15, "operator")]


def test_a_viewer_reads_stock_and_moves_nothing(client: Client) -> None:
    browser = browser_of("viewer", "view_stocklevel")

    answer = browser.get(page_of("TENT"))

    assert answer.status_code == 200
    assert 'name="reason"' not in answer.content.decode()
    assert browser.post(page_of("TENT"), {"reason": "received", "pieces": 5}).status_code == 403
