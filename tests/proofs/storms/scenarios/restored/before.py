"""Before the loss: orders are opened, a backup is taken, they move on, and the database is lost."""

from functools import partial
from pathlib import Path

from tests.proofs.storms import roles_down
from tests.proofs.storms.postgresql import put_back, stop_postgres
from tests.proofs.storms.storm import Storm

REFUSED = "00422"  # an address that the carrier refuses: the charge is refunded
KEPT = "tok_refund_declined"  # its refund is refused for good, so it waits for a person already
PREPARED_WITHIN_S = 420.0  # what comes before the loss promises nothing: it only has to be there
TOTALS = "SELECT number, total_minor FROM orders_order WHERE number = ANY(%s)"
EVERY = 5  # each fifth order that moves is turned back
COMPENSATION_BEGUN = "compensation_(scheduled|started|retry_wait|in_doubt)"
STANDS = """
SELECT count(*) FROM fulfillment_steprecord r JOIN fulfillment_saga s ON s.id = r.saga_id JOIN orders_order o ON o.id = s.order_id
WHERE o.number = ANY(%s) AND r.name = %s AND r.state ~ %s
"""


class Opened:
    """The orders that are open when the backup is taken, by what becomes of them between it and the crash, and the one that stays as it is."""

    def __init__(self, storm: Storm) -> None:
        shop, each = storm.shop, storm.how_many["of_each_kind"]
        self.kept = storm.place(each, token=KEPT, postal_code=REFUSED)
        _wait(storm, self.kept, "payment", "compensation_failed")
        shop.only_down("refunds")
        self.refunded = storm.place(each, postal_code=REFUSED)
        _wait(storm, self.refunded, "payment", COMPENSATION_BEGUN)
        shop.only_down("refunds", "labels", "label_cancels")
        self.withdrawn = storm.place(each)
        _wait(storm, self.withdrawn, "inventory", "succeeded")
        _cancel(storm, self.withdrawn)
        _wait(storm, self.withdrawn, "payment", "compensation_")  # next, or under way, as far as its label stands before it
        self.cancelled, self.returned, self.shipped = storm.place(each), storm.place(each), storm.place(each)
        _wait(storm, self.paid, "inventory", "succeeded")
        shop.only_down("refunds", "labels", "label_cancels", "charges")
        self.charged, self.turned_back = storm.place(each), storm.place(each, postal_code=REFUSED)

    @property
    def paid(self) -> list[str]:
        """They wait for their labels."""
        return self.cancelled + self.returned + self.shipped

    @property
    def count(self) -> int:
        return len(self.kept + self.refunded + self.withdrawn + self.paid + self.charged + self.turned_back)


def _wait(storm: Storm, numbers: list[str], step: str, state: str) -> None:
    """Until all of them stand there."""
    storm.until(
        f"opening, {step} {state}", lambda: storm.shop.sql(STANDS, numbers, step, state)[0][0], len(numbers), PREPARED_WITHIN_S, every_s=0.1
    )


def _cancel(storm: Storm, numbers: list[str]) -> None:
    for number in numbers:
        answer = storm.shop.cancel(number)
        storm.expect(answer.is_success, f"{number}: its cancel was answered {answer.status_code}")


def they_move(storm: Storm, opened: Opened) -> None:
    """What was open goes on, is cancelled, or is given back by the bank's support; and many more are placed, the last of which are under way at the end."""
    shop, how_many = storm.shop, storm.how_many
    _cancel(storm, opened.cancelled)
    shop.only_down()
    refused = [n % EVERY == 0 for n in range(how_many["moved"])]
    storm.in_parallel("orders move", [partial(shop.place_stubbornly, 60, **({"postal_code": REFUSED} if no else {})) for no in refused])
    storm.rest(PREPARED_WITHIN_S)
    totals = dict(shop.sql(TOTALS, opened.returned))
    for number, total in totals.items():
        shop.plant("refund", number, shop.key(number, "payment"), total)
    shop.only_down("labels")
    paid = storm.place(how_many["under_way"])
    _wait(storm, paid, "inventory", "succeeded")
    shop.only_down("labels", "charges")
    storm.place(how_many["under_way"])


def the_database_is_lost(storm: Storm, backup: Path) -> None:
    """The server and everybody who works on it die at once; an operator puts the backup in its place, and leaves the shop down."""

    def while_it_is_dead() -> None:
        roles_down.take_down(storm, *roles_down.OF_THE_SHOP)
        put_back(storm, backup)

    storm.show("losing the database", 0, 1)
    stop_postgres(storm, 0, while_it_is_dead)
    storm.shop.only_down()
    roles_down.wait_until_nobody_is_at_work(storm)
