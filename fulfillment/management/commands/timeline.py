"""``manage.py timeline ORD-…``: the history of an order, with decisions of people. What was refused comes last. The last number is the order's version."""

from typing import Any

from fulfillment.management.operating import OrderCommand, attempt_as_json, find_order
from fulfillment.models import Saga
from orders.refusals import RefusedAttempt
from orders.timeline import TimelineEntry, sentence

COLUMNS = ("id", "at", "kind", "name", "from_state", "to_state", "epoch", "code", "actor", "detail")


class Command(OrderCommand):
    help = "Show the history of an order, people's decisions included. Example: manage.py timeline ORD-1043"

    def handle(self, *args: Any, **options: Any) -> None:
        order = find_order(options["order"])
        entries = list(order.timeline.order_by("id"))
        refused = RefusedAttempt.objects.filter(subject=order.number).order_by("id")
        version = entries[-1].pk if entries else 0
        pruned_at = (
            Saga.objects.filter(order=order).values_list("history_pruned_at", flat=True).first()
        )  # not its plan, which may be unreadable
        if options["json"]:
            history = {"entries": [_entry(entry) for entry in entries], "refused": [attempt_as_json(attempt) for attempt in refused]}
            self.write_json({"order": order.number, "version": version, "history_pruned_at": pruned_at} | history)
            return
        if pruned_at:
            self.write_lines(
                f"Removed on {pruned_at:%Y-%m-%d %H:%M:%S} UTC: what had happened until then, except for what people have decided (docs/retention.md)."
            )
        self.write_lines(f"{'entry':>8}  {'time (UTC)':23}  epoch  what happened")
        for entry in entries:
            self.write_lines(
                f"{entry.pk:>8}  {entry.at:%Y-%m-%d %H:%M:%S}.{entry.at.microsecond // 1000:03}  {entry.epoch or '':>5}  {sentence(entry)}"
            )
        for attempt in refused:
            self.write_lines(f"{'refused':>8}  {attempt.at:%Y-%m-%d %H:%M:%S}.{attempt.at.microsecond // 1000:03}  {'':>5}  {attempt}")
        self.write_lines(f"{order.number} is at version {version}.")


def _entry(entry: TimelineEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in COLUMNS} | {"sentence": sentence(entry)}
