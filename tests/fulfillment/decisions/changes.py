"""What each decision changes, by the way in which a step or a compensation had ended."""

from typing import Any

from tests.shop_clock import LIMITS_S

# Whoever goes on has a fresh deadline, and is due now. Epochs fence: a decision raises them by one, and turning back by one more.
# Who is only hurried is given back what has passed since it was due.
LATER_S = 100.0
NOW = {"inspected in": 0.0, "deadline in": LIMITS_S["SAGA_DEADLINE_S"] - LIMITS_S["BACKOFF_S"], "paused": LATER_S - LIMITS_S["BACKOFF_S"]}
GOES_ON = {"inspected in": 0.0, "deadline in": LIMITS_S["SAGA_DEADLINE_S"]}
PAYS_AGAIN = GOES_ON | {"payment": "scheduled", "payment, tries": (0, 0, 0), "payment, first start": None}
# Of a compensation that has failed for good. Refused, it is asked for again under the next key, after a look at what is left.
ASKED_AGAIN = GOES_ON | {
    "saga": "compensating",
    "epoch": 4,
    "incidents": 0,
    "payment": "compensation_scheduled",
    "payment, tries": (1, 0, 0),
    "payment, compensation": ("compensate:1", 100, 0.0),
}
BY_HAND = {
    "saga": "compensated",
    "order": "inventory_failed",
    "epoch": 4,
    "deadline in": LIMITS_S["SAGA_DEADLINE_S"],
    "incidents": 0,
    "ledger": [("captured", 100), ("refunded", 100)],
    "payment": "compensated_by_hand",
}
CLOSED = {
    "saga": "closed_by_operator",
    "order": "inventory_failed",
    "epoch": 4,
    "incidents": 0,
    "ledger": [("captured", 100), ("written_off", 100)],
}
THIRD_TRY = {"epoch": 6, "paused": 0.0}  # two retries have raised the epoch before, and the time in which nobody looked was given back

CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "a charge is unavailable": {
        "retry_now": NOW,
        "look_up": {},
    },
    "a charge is in doubt": {
        "retry_now": NOW,
        "look_up": {},
        "it_happened": GOES_ON
        | {
            "epoch": 2,
            "ledger": [("captured", 100)],
            "payment": "done_by_hand",
            "payment, knows": ["amount_minor", "charge_id", "currency"],
            "inventory": "scheduled",
        },
        "it_did_not": PAYS_AGAIN | {"epoch": 2},
    },
    "a charge in another currency": {
        "retry": PAYS_AGAIN | {"saga": "running", "epoch": 3, "incidents": 0},
        "look_up": {},
        "it_happened": GOES_ON | {"saga": "running", "epoch": 3, "incidents": 0, "payment": "done_by_hand", "inventory": "scheduled"},
        "it_did_not": PAYS_AGAIN | {"saga": "running", "epoch": 3, "incidents": 0},
        "start_undo": {
            "saga": "compensating",
            "turned": "payment_failed",
            "order": "compensating",
            "epoch": 3,
            "inspected in": 0.0,
            "incidents": 0,
            "payment": "compensation_scheduled",
            "payment, compensation": ("compensate:1", None, 0.0),
            "inventory": "not_needed",
            "shipping": "not_needed",
        },
    },
    "a message is lost again and again": {
        "retry": GOES_ON | {"saga": "running", "epoch": 3, "paused": 0.0, "incidents": 0},
        "start_undo": {
            "saga": "compensating",
            "turned": "inventory_failed",
            "order": "compensating",
            "epoch": 3,
            "inspected in": 0.0,
            "paused": 0.0,
            "incidents": 0,
            "payment": "compensation_scheduled",
            "payment, compensation": ("compensate:1", 100, 0.0),
            "inventory": "not_needed",
            "shipping": "not_needed",
        },
    },
    "a booking is in doubt": {
        "retry_now": NOW,
        "look_up": {},
        "it_happened": {
            "saga": "completed",
            "order": "fulfilled",
            "epoch": 2,
            "inspected in": None,
            "deadline in": 7207.0,
            "stock": (1, 0),
            "shipping": "done_by_hand",
        },
        "it_did_not": GOES_ON | {"epoch": 2, "shipping": "scheduled", "shipping, tries": (0, 0, 0), "shipping, first start": None},
    },
    "an open circuit": {
        "look_up": {},
        "start_undo": GOES_ON  # the time of the hold is given back
        | {
            "saga": "compensating",
            "turned": "payment_failed",
            "order": "compensating",
            "epoch": 2,
            "held by": "",
            "payment": "compensation_scheduled",
            "payment, doubt": (True, False),
            "payment, compensation": ("compensate:1", None, 0.0),
            "inventory": "not_needed",
            "shipping": "not_needed",
        },
    },
    "a refund is unavailable": {
        "retry_now": NOW,
        "look_up": {},
    },
    "a refund is in doubt": {
        "retry_now": NOW,
        "look_up": {},
    },
    "a refund is refused": {
        "retry": ASKED_AGAIN | {"payment, doubt": (False, True), "payment, compensation": ("compensate:2", 100, 0.0)},
        "look_up": {},
        "undone_by_hand": BY_HAND,
        "close": CLOSED,
    },
    "a refund in another currency": {
        "retry": ASKED_AGAIN,
        "look_up": {},
        "undone_by_hand": BY_HAND,
        "close": CLOSED,
    },
    "a refund of a part": {
        "retry_now": NOW,
        "look_up": {},
    },
    "a refund that gave nothing back": {
        "retry": ASKED_AGAIN,
        "look_up": {},
        "undone_by_hand": BY_HAND,
        "close": CLOSED,
    },
    "an undo that watched in vain": {
        "retry": ASKED_AGAIN | {"payment, compensation": ("compensate:1", None, 0.0)},
        "look_up": {},
        "undone_by_hand": BY_HAND | {"order": "cancelled"},
        "close": {"saga": "closed_by_operator", "order": "cancelled", "epoch": 4, "incidents": 0},
    },
    "an undo that is out of tries": {  # nobody has refused it: the same key goes on
        "retry": ASKED_AGAIN | THIRD_TRY | {"payment, compensation": ("compensate:1", 100, 0.0)},
        "look_up": {},
        "undone_by_hand": BY_HAND | THIRD_TRY,
        "close": CLOSED | {"epoch": 6},
    },
    "a step after the pivot that is out of tries": {
        "retry": GOES_ON
        | {
            "saga": "running",
            "epoch": 5,
            "paused": 0.0,
            "incidents": 0,
            "survey": "scheduled",
            "survey, tries": (0, 0, 0),
            "survey, first start": None,
        },
        "look_up": {},
        "skip": {
            "saga": "completed",
            "order": "fulfilled",
            "epoch": 5,
            "deadline in": LIMITS_S["SAGA_DEADLINE_S"],
            "paused": 0.0,
            "incidents": 0,
            "stock": (1, 0),
            "survey": "skipped",
        },
    },
    "fulfilled": {},
    "compensated": {},
}
