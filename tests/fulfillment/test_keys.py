"""Promise: a key that was issued once is never issued again, also not by a database that has forgotten that it was: nobody is served with a stranger's charge."""

from typing import Any

import pytest

from fulfillment import keys, recovery
from fulfillment.models import Saga, StepRecord
from orders.models import Order
from tests.actors import AMARA
from tests.fulfillment.driving import cancelled, copy_of, found, record

REAL = keys.new_nonce


@pytest.fixture(autouse=True)
def real_nonces(monkeypatch: pytest.MonkeyPatch, one_nonce: None) -> None:
    monkeypatch.setattr(keys, "new_nonce", REAL)


def keys_of(saga: int) -> set[str]:
    return {key for pair in StepRecord.objects.filter(saga=saga).values_list("do_key", "compensation_key") for key in pair if key}


@pytest.mark.django_db
def test_an_order_number_that_is_issued_again_has_other_keys(order: Order) -> None:
    """A restored backup, a promoted replica, a reset database: the sequence begins anew."""
    first = copy_of(order, "ORD-7")
    were = keys_of(first)
    Order.objects.filter(number="ORD-7").update(number="ORD-7-lost", idempotency_key="lost")

    again = keys_of(copy_of(order, "ORD-7"))

    assert len(again) == len(were) > 0
    assert not were & again


@pytest.mark.django_db
def test_refunds_too(order: Order) -> None:
    """What a stranger was refunded under ORD-7 says nothing about mine."""
    saga = copy_of(order, "ORD-7")
    cancelled(saga)

    nonce = found(saga).nonce
    assert len(nonce) == keys.NONCE_LENGTH
    assert record(saga).compensation_key == f"ORD-7:payment:compensate:1:{nonce}"


@pytest.mark.django_db
def test_a_saga_from_before_the_nonce_keeps_its_keys(order: Order) -> None:
    """Its provider knows it under these."""
    saga = copy_of(order, "ORD-7")
    Saga.objects.filter(pk=saga).update(nonce="")
    StepRecord.objects.filter(saga=saga, name="payment").update(do_key="ORD-7:payment:do:1")
    cancelled(saga)

    assert record(saga).compensation_key == "ORD-7:payment:compensate:1"


@pytest.mark.django_db
def test_a_refund_that_an_older_release_has_scheduled_keeps_its_key(order: Order) -> None:
    """It knows no nonce. Asked again under another key, the customer might be refunded twice."""
    saga = copy_of(order, "ORD-7")
    cancelled(saga)
    StepRecord.objects.filter(saga=saga, name="payment").update(compensation_key="ORD-7:payment:compensate:1", state="compensation_failed")
    Saga.objects.filter(pk=saga).update(state="needs_attention", wake_at=None)

    _retried_by_a_person(order, saga)

    assert record(saga).state == "compensation_scheduled"
    assert record(saga).compensation_key == "ORD-7:payment:compensate:1"


def _retried_by_a_person(order: Order, saga: int) -> Any:
    number = found(saga).order.number
    request = recovery.Request(order=number, verb="retry", version=recovery.version_of(found(saga).order_id), actor=AMARA, reason="again")
    return recovery.decide(request)


def test_the_longest_key_fits_its_column() -> None:
    longest = keys.compensation_key("O" * 20, "n" * keys.NONCE_LENGTH, "s" * 40, 99)

    assert len(longest) == StepRecord._meta.get_field("compensation_key").max_length
