"""Promise: an order whose own rows disagree is found, and so is a shop whose stock, side effects or sagas do."""

from django.db import connection
from django.db.models import F

from fulfillment import movements
from fulfillment.models import Reservation, Saga, SagaState, StepRecord, StepState, StockLevel
from fulfillment.reconciliation import Rule
from orders.models import Incident, Order, Status
from sideeffects import discovery, relay
from sideeffects.models import Delivery
from tests.engines import ROOT
from tests.reconciliation.shop import TOTAL, Shop
from tests.sideeffects.conftest import ALL_LOST


def test_a_status_that_differs_from_the_saga_is_found(shop: Shop, failed: Order) -> None:
    Saga.objects.update(failure=Status.CANCELLED)

    assert shop.found() == [("ORD-1", Rule.STATUS_AGREES_WITH_SAGA, 0)]


def test_a_compensation_that_has_never_ended_is_found(shop: Shop, failed: Order) -> None:
    """And the history, which says otherwise."""
    StepRecord.objects.filter(name="payment").update(state=StepState.COMPENSATION_FAILED)

    assert [rule for _, rule, _ in shop.found()] == [Rule.EVERY_COMPENSATION_HAS_ENDED, Rule.HISTORY_REBUILDS_THE_JOURNAL]


def test_a_subscriber_that_never_got_the_fact_is_found(shop: Shop) -> None:
    shop.place("ORD-1")
    shop.place("ORD-2")
    relay.register(discovery.types(), release=1)
    relay.owe(ALL_LOST)
    assert shop.found() == []
    lost = discovery.names()[0]

    Delivery.objects.filter(fact__order__number="ORD-2", subscriber=lost).delete()

    assert shop.found() == [("ORD-2", Rule.FACT_RECORDED_ONCE, 0)]


def test_what_the_relay_has_not_come_to_yet_is_not_called_wrong(shop: Shop, fulfilled: Order) -> None:
    relay.register(discovery.types(), release=1)
    relay.owe(None)

    assert shop.found() == []


def test_an_order_that_published_nothing_is_found(shop: Shop, fulfilled: Order) -> None:
    forget_the_fact()

    assert shop.found() == [("ORD-1", Rule.FACT_RECORDED_ONCE, 0)]


def forget_the_fact() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica; DELETE FROM orders_fact")


def test_stock_that_a_closed_order_still_holds_is_found(shop: Shop, failed: Order) -> None:
    Reservation.objects.update(state="held")

    assert sorted(shop.found()) == [("MUG", Rule.STOCK_ADDS_UP, 0), ("ORD-1", Rule.RESERVATIONS_CLOSED, 0)]


def test_reserved_pieces_that_no_order_holds_are_found(shop: Shop, fulfilled: Order) -> None:
    StockLevel.objects.update(reserved=3)

    assert shop.found() == [("MUG", Rule.STOCK_ADDS_UP, 0)]
    assert Incident.objects.get().order_id is None

    StockLevel.objects.update(reserved=0)
    assert shop.found() == []
    assert shop.incidents() == [("MUG", "mismatch", "stock_adds_up", 0, "resolved")]


def test_pieces_that_were_received_and_are_nowhere_are_found(shop: Shop, fulfilled: Order) -> None:
    """Two left with one order."""
    StockLevel.objects.update(on_hand=F("on_hand") - 1)

    assert shop.found() == [("MUG", Rule.STOCK_IS_CONSERVED, 0)]


def test_whoever_counts_the_warehouse_is_believed(shop: Shop, fulfilled: Order) -> None:
    before = movements.seen(StockLevel.objects.get())
    movements.record("MUG", movements.Reason.COUNTED, 40, actor="amara", since=before)

    assert StockLevel.objects.get().on_hand == 40
    assert shop.found() == []


def test_an_effect_that_happened_twice_is_found_by_its_audit(shop: Shop, fulfilled: Order) -> None:
    """Points for an order that nobody has published, many times over: one finding."""
    for number in range(5):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO sideeffects_loyalty_pointsentry (account, order_number, points) VALUES ('x', %s, 5)", [number])

    assert shop.found() == [("loyalty", Rule.EACH_EFFECT_ONCE, 0)]
    assert "; and 3 more" in Incident.objects.get().message


def test_an_order_that_nobody_inspects_is_found_until_somebody_does(shop: Shop) -> None:
    """It waits for a person, and no person was notified; our own incident does not make it well."""
    shop.place(postal_code="00422", token="tok_refund_declined")
    Incident.objects.update(state="resolved")

    for _ in range(2):
        assert shop.found() == [("ORD-1", Rule.DUE_OR_INCIDENT, TOTAL)]
    assert shop.incidents()[-1] == ("ORD-1", "mismatch", "due_or_incident", TOTAL, "open")


def test_a_failure_that_is_shown_while_its_compensation_is_open_is_found(shop: Shop, failed: Order) -> None:
    Saga.objects.update(state=SagaState.COMPENSATING, wake_at="2100-01-01T00:00Z")

    assert shop.found() == [("ORD-1", Rule.NO_FAILURE_IS_SHOWN_EARLY, 0)]


def test_an_order_without_a_saga_is_found(shop: Shop) -> None:
    order = shop.open()
    Saga.objects.all().delete()

    assert shop.found() == [(order.number, Rule.EVERY_ORDER_HAS_A_SAGA, 0)]


def test_every_rule_is_explained_in_the_documentation() -> None:
    text = (ROOT / "docs/reconcile.md").read_text()

    assert [rule.value for rule in Rule if f"`{rule.value}`" not in text] == []
