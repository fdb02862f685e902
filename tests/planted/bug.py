"""What a planted bug is, and which tests are asked about it: whole files and folders, in the order in which they are asked."""

from dataclasses import dataclass

ARITHMETIC, BOUNDARIES, PAGES, AT_ONCE = "arithmetic of time", "boundaries that move", "beyond the first page", "two connections at once"
MONEY, PEOPLE, STRANGERS = "money", "people", "what strangers send"

TESTS: dict[str, tuple[str, ...]] = {
    ARITHMETIC: (
        "tests/orders/test_turn_instants.py",
        "tests/fulfillment/instants",
        "tests/fulfillment/test_ages.py",
        "tests/fulfillment/test_edges.py",
        "tests/fulfillment/test_circuit_instants.py",
        "tests/fulfillment/test_quarantine_instants.py",
        "tests/sideeffects/test_delivery_instants.py",
        "tests/fulfillment/test_clock_jumps.py",
        "tests/fulfillment/quarantine",
        "tests/sideeffects/test_relay.py",
    ),
    BOUNDARIES: (
        "tests/fulfillment/what_others_see",
        "tests/sideeffects/test_what_others_see.py",
        "tests/fulfillment/test_what_may_be_lost.py",
        "tests/fulfillment/quarantine",
    ),
    PAGES: (
        "tests/orders/test_lowwater.py",
        "tests/fulfillment/test_beyond_the_first_page.py",
        "tests/sideeffects/test_beyond_the_first_page.py",
    ),
    AT_ONCE: (
        "tests/fulfillment/two_at_once",
        "tests/sideeffects/test_two_at_once.py",
        "tests/orders/test_two_at_once.py",
        "tests/fulfillment/test_budgets.py",
        "tests/fulfillment/test_ledger_amounts.py",
        "tests/fulfillment/test_bad_input.py",
        "tests/sideeffects/test_deliveries.py",
    ),
    MONEY: (
        "tests/fulfillment/test_keys.py",
        "tests/fulfillment/other_answers",
        "tests/fulfillment/test_it_happened.py",
        "tests/fulfillment/decisions",
        "tests/reconciliation/test_forgotten.py",
        "tests/reconciliation/test_restored_orders.py",
        "tests/reconciliation/test_explained_money.py",
        "tests/orders/test_money.py",
    ),
    PEOPLE: (
        "tests/fulfillment/identity",
        "tests/fulfillment/commands",
        "tests/fulfillment/test_movements.py",
        "tests/orders/test_products_in_the_admin.py",
        "tests/orders/test_stock_in_the_admin.py",
        "tests/orders/test_erasure.py",
    ),
    STRANGERS: (
        "tests/orders/test_text.py",
        "tests/orders/test_same_order.py",
        "tests/orders/test_placing.py",
        "tests/sideeffects/test_replay.py",
        "tests/sideeffects/test_email_refusals.py",
        "tests/fulfillment/test_outside_strings.py",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Bug:
    """``search`` stands in ``file`` exactly once. ``is_later``: no test was written with it in mind."""

    name: str
    blindness: str
    file: str
    search: str
    replace: str
    is_later: bool = False

    @property
    def tests(self) -> tuple[str, ...]:
        return TESTS[self.blindness]
