"""Erasure of a customer from the rows of this package: steps, past attempts, bulk retries, stock movements and circuits.

Stock movements and the history of circuits stay append-only for everybody else.
"""

import re
from collections import Counter
from itertools import chain

from fulfillment.circuit import Circuit, CircuitEntry
from fulfillment.models import PastAttempt, Saga, SagaState, StepRecord, StockMovement
from fulfillment.retry_batches import RetryBatch, RetryItem
from orders.models import Order
from orders.pseudonyms import any_of, changed, replace

GUARDS = ("fulfillment.StockMovement:append_only", "fulfillment.CircuitEntry:circuit_append_only")


def left_to_do(order: Order) -> str:
    """Why this order still needs to know its customer. Empty: it does not."""
    saga = Saga.objects.filter(order=order).defer("plan").first()
    if saga is None or SagaState(saga.state).is_final:
        return ""
    return f"is under way ({saga.get_state_display().lower()})"


def erase_order(order: Order, marks: re.Pattern[str], *, write: bool) -> Counter[str]:
    """How many rows about this order name its customer. They are changed only with ``write``."""
    about = {
        "steps": changed(
            StepRecord.objects.filter(saga__order=order), marks, "error_message", "evidence", "receipt", "compensation_receipt"
        ),
        "past attempts": changed(PastAttempt.objects.filter(record__saga__order=order), marks, "message"),
        "stock movements": changed(StockMovement.objects.filter(note__icontains=order.number), marks, "note"),
        "bulk retries": chain(
            changed(RetryItem.objects.filter(order=order.number), marks, "sentence"),
            changed(RetryBatch.objects.filter(items__order=order.number).distinct(), marks, "reason"),
        ),
    }
    return replace(about, GUARDS, write=write)


def erase_address(email: str, *, write: bool) -> Counter[str]:
    """How many rows beside orders name this address: notes of stock movements, and reasons of circuits that an operator has held."""
    marks = any_of([email])
    circuits = chain(
        *(changed(model.objects.filter(reason__icontains=email.strip()), marks, "reason") for model in (Circuit, CircuitEntry))
    )
    movements = changed(StockMovement.objects.filter(note__icontains=email.strip()), marks, "note")
    return replace({"stock movements": movements, "circuits": circuits}, GUARDS, write=write)
