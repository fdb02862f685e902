"""After the recovery: new orders work, everything ends, a person decides, and nothing else has moved."""

from tests.proofs.storms import data_loss
from tests.proofs.storms.data_loss import DataLoss
from tests.proofs.storms.scenarios.restored.before import Opened
from tests.proofs.storms.storm import Storm

VERSION = "SELECT max(t.id) FROM orders_timelineentry t JOIN orders_order o ON o.id = t.order_id WHERE o.number = %s"


def new_orders_work(storm: Storm, found: DataLoss) -> None:
    """Under numbers that nobody has ever had."""
    new = storm.place(storm.how_many["new"])
    last = max(data_loss.place(number) for number in found.acknowledged)
    storm.expect(min(map(data_loss.place, new)) > last, f"{min(new, key=data_loss.place)} was issued, and {last} had been")
    storm.rest(120, new)
    ended = storm.statuses(new)
    storm.expect(ended == {"fulfilled": len(new)}, f"new orders ended as {ended}")
    storm.counts["new orders fulfilled"] = ended.get("fulfilled", 0)


def everything_ends(storm: Storm, found: DataLoss, opened: Opened) -> None:
    """As if the database had never been lost, where no person is asked."""
    for what, numbers, status in (
        ("that were charged, or shipped, meanwhile", opened.charged + opened.shipped, "fulfilled"),
        ("whose refund had begun", opened.refunded, "shipping_failed"),
        ("whose cancel had begun", opened.withdrawn, "cancelled"),
    ):
        ended = storm.statuses(numbers)
        storm.expect(ended == {status: len(numbers)}, f"orders {what} ended as {ended}")
    due = set(opened.cancelled + opened.returned + opened.turned_back)
    storm.expect(found.differing == due, f"nothing is shown: {sorted(found.differing ^ due)[:5]} differ wrongly, or do not")
    storm.counts["went on by themselves"] = len(found.state) - len(found.differing)


def a_person_decides(storm: Storm, found: DataLoss) -> None:
    """Each order that was given back meanwhile is turned back; what forgotten orders hold waits for their customers."""
    for number in found.differing:
        version = storm.shop.sql(VERSION, number)[0][0]
        words = ["decide", number, "start_undo", f"--version={version}", "--reason=it was given back"]
        run = storm.shop.python("manage.py", *words, variables={"OPERATOR_TOKEN": storm.stack.info["operator_token"]})
        storm.expect(run.returncode == 0, f"{number}: a person's decision: {run.stderr}")
    storm.rest(60)
    by_provider = data_loss.done(storm.shop.effects())
    storm.expect_none(
        "were turned back by a person and are not undone", {number for number in found.differing if by_provider[number].is_open}
    )
    storm.counts["decided by a person"] = len(found.differing)


def only_what_was_decided_moved(storm: Storm, found: DataLoss) -> None:
    """Nothing twice, nothing for whom nobody knows, and nobody's money back but by a turn that the backup's journal had begun, or that a person has decided."""
    effects = storm.shop.effects()
    later = effects[len(found.effects) :]
    given_back = {one["order"] for one in later if one["operation"] in ("refund", "cancel_label")}
    storm.expect_none("are forgotten, and were touched", {one["order"] for one in later} & found.forgotten)
    storm.expect_none("were given back, and nobody had decided that", given_back - found.turning_back - found.differing)
    twice = {number for number, done in data_loss.done(effects).items() if max(done.times.values()) > 1}
    storm.expect_none("had something done twice", twice)
    _, report = storm.shop.reconcile()
    left = {one["subject"]: one["amount_minor"] for one in report["findings"] if one["rule"] == "unknown_order"}
    storm.expect(left == found.held, f"the last reconciliation finds {len(left)} unknown orders, not {len(found.held)}")
    storm.counts["done twice"] = len(twice)
