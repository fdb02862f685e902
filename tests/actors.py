"""Persons who decide, for tests that are not about who they are: every permission, and a number of their own."""

from fulfillment.models import DECIDED_BY_PERSONS
from orders.operators import Actor

EVERYTHING = frozenset(
    [
        *(f"fulfillment.decide_{verb}" for verb in DECIDED_BY_PERSONS),
        *("fulfillment.hold_circuit", "fulfillment.release_circuit", "sideeffects.replay_delivery", "sideeffects.discard_delivery"),
        *("orders.cancel_order", "orders.forget_customer"),
    ]
)


def actor(user: int, name: str, permissions: frozenset[str] = EVERYTHING) -> Actor:
    return Actor(user=user, name=name, permissions=permissions)


AMARA, BELA, TUNDE = actor(9001, "amara"), actor(9002, "bela"), actor(9003, "tunde")
