"""Promise: the ledger knows what remains, whoever has given something back."""

from fulfillment import engine, ledger, recovery
from fulfillment.errors import Changed, InDoubt
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, SagaState
from orders.models import Order
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import found, record
from tests.fulfillment.spending import paid_and_refused, tried


def test_the_ledger_knows_what_remains_and_a_refund_is_entered_with_its_outcome(saga: int, order: Order) -> None:
    paid_and_refused(saga)
    assert ledger.remaining(order.pk) == record(saga).compensation_amount_minor == 100

    claim = engine.start(saga, 2, "payment", compensating=True)
    assert claim is not None
    engine.record_success(claim, {"amount_minor": 100})

    assert ledger.remaining(order.pk) == 0
    assert found(saga).state == SagaState.COMPENSATED


def test_what_somebody_else_gave_back_makes_a_new_business_attempt(saga: int, order: Order) -> None:
    """Key and amount are fixed together: 40 of 100 were given back elsewhere, so 60 are refunded under another key."""
    paid_and_refused(saga)
    first = engine.start(saga, 2, "payment", compensating=True)
    assert first is not None

    engine.record_failure(first, Changed("40 were given back", "remainder_changed", 40))

    now = record(saga)
    assert (now.compensation_key, now.compensation_amount_minor) == ("ORD-1:payment:compensate:2:testsnonce", 60)
    assert first.key == "ORD-1:payment:compensate:1:testsnonce"
    now_due(saga)
    assert recovery.inspect_saga(saga) is not None
    again = engine.start(saga, 3, "payment", compensating=True)
    assert again is not None
    assert (again.key, again.amount_minor) == ("ORD-1:payment:compensate:2:testsnonce", 60)


def test_a_blind_compensation_that_gave_something_back_enters_what_it_had_found(saga: int, order: Order) -> None:
    tried(saga, "payment", InDoubt("silence"))
    engine.request_cancel(engine.locking(Saga.objects.filter(pk=saga)).get(), "amara")
    recovery.inspect_saga(saga)
    claim = engine.start(saga, 2, "payment", compensating=True)
    assert claim is not None
    assert claim.receipt is None

    engine.record_success(claim, {"amount_minor": 100})

    assert list(LedgerEntry.objects.values_list("operation", "amount_minor")) == [("captured", 100), ("refunded", 100)]
