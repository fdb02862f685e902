"""``manage.py retry_orders``: many orders are tried again with a fresh budget. First it stores a preview. Then a person confirms that set, and can follow it."""

import sys
import time
from typing import Any

from django.core.management.base import CommandParser

from fulfillment.management.numbers import rate
from fulfillment.management.operating import OperatorCommand, authenticated, words, wrong_usage
from fulfillment.recovery import bulk_retries, sweep_age_s
from fulfillment.retry_batches import RetryBatch, RetryItem
from orders.incidents import IncidentKind

FILTERS = ("kind", "step", "code")
POLL_EVERY_S = 1.0
NO_SWEEP_AFTER_S = 30.0
BAD = ("refused", "failed", bulk_retries.FAILED_AGAIN)


class Command(OperatorCommand):
    help = (
        "Retry every order with an open incident that fits the filters. With filters it shows and stores which these are; nothing is done. "
        "Then that set is confirmed by its number (--batch, --yes, --reason). The sweep works it off, also when this command is killed; "
        "--batch alone says what has become of each order, and --follow stays until none waits. "
        'Example: manage.py retry_orders --kind compensation_exhausted, then: manage.py retry_orders --batch 12 --yes --reason "the provider is back"'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--kind", choices=IncidentKind.values, default="", help="of the incident")
        parser.add_argument("--step", default="", help="of the incident, like payment")
        parser.add_argument("--code", default="", help="of the incident, as `manage.py incidents` shows it")
        parser.add_argument("--all", action="store_true", help="whatever the incident")
        parser.add_argument("--batch", type=int, help="a set that was previewed, by its number")
        parser.add_argument("--yes", action="store_true", help="do it; needs --batch and --reason")
        parser.add_argument("--reason", type=words, help="why, for whoever reads it later")
        parser.add_argument(
            "--rate", type=rate, default=20.0, help=f"at most so many orders a second (default 20, at most {bulk_retries.FASTEST_PER_S:g})"
        )
        parser.add_argument("--follow", action="store_true", help="with --batch: stay until no order waits")

    def handle(self, *args: Any, **options: Any) -> None:
        filters = {name: options[name] for name in FILTERS}
        if [any(filters.values()), options["all"], options["batch"] is not None].count(True) != 1:
            wrong_usage(
                "Which orders? Give --kind, --step or --code; or --all, for every open incident; or --batch, for a set that was previewed."
            )
        if options["yes"] and (options["batch"] is None or not options["reason"]):
            wrong_usage("--yes needs --batch and --reason: without --yes the set is shown, and gets its number.")
        if options["batch"] is None:
            self._preview(bulk_retries.preview(**filters), options["json"])
            return
        number, reason = options["batch"], options["reason"]
        batch = bulk_retries.confirm(number, authenticated("retry"), reason, options["rate"]) if options["yes"] else _stored(number)
        if options["follow"]:
            self._follow(batch)
        self._show(batch, options["json"])
        if options["follow"] and any(what in BAD for what in bulk_retries.outcomes(batch).values()):
            sys.exit(1)

    def _preview(self, batch: RetryBatch, as_json: bool) -> None:
        if as_json:
            self.write_json(
                {"batch": batch.pk, "summary": bulk_retries.describe(batch), "orders": [_item(item) for item in batch.items.all()]}
            )
            return
        self.write_lines(f"{bulk_retries.describe(batch)}.", "Nothing was done. To do it to just these, as they are now:")
        self.write_lines(f'    python manage.py retry_orders --batch {batch.pk} --yes --reason "…"')

    def _follow(self, batch: RetryBatch) -> None:
        """Prints a line whenever something has changed. An interruption stops only the printing."""
        if batch.confirmed_at is None:
            return
        shown = ""
        try:
            while bulk_retries.WAITING in (became := bulk_retries.outcomes(batch)).values():
                if (line := bulk_retries.counted(became)) != shown:
                    self.stderr.write(shown := line)
                time.sleep(POLL_EVERY_S)
        except KeyboardInterrupt:
            self.stderr.write("It goes on by itself.")

    def _show(self, batch: RetryBatch, as_json: bool) -> None:
        batch.refresh_from_db()
        became = bulk_retries.outcomes(batch)
        if as_json:
            orders = [_item(item) | {"became": became.get(item.order, "")} for item in batch.items.all()]
            self.write_json(
                {"batch": batch.pk, "summary": bulk_retries.describe(batch), "counted": bulk_retries.counted(became), "orders": orders}
            )
            return
        self.write_lines(
            *(f"{item.order}: {became[item.order]}. {item.sentence}" for item in batch.items.filter(skip="") if became[item.order] in BAD)
        )
        self.write_lines(f"Batch {batch.pk}, {bulk_retries.describe(batch)}.", _state(batch, became))


def _item(item: RetryItem) -> dict[str, Any]:
    return {
        name: getattr(item, name) for name in ("order", "version", "amount_minor", "currency", "skip", "outcome", "sentence", "decided_at")
    }


def _state(batch: RetryBatch, became: dict[str, str]) -> str:
    if batch.confirmed_at is None:
        return "Nobody has confirmed it: nothing was done."
    by = f"Confirmed by {batch.actor} ({batch.reason}), {batch.rate_per_s:g} a second at most: {bulk_retries.counted(became)}."
    age = sweep_age_s()
    if bulk_retries.WAITING in became.values() and (age is None or age > NO_SWEEP_AFTER_S):
        return f"{by} No sweep runs, and only the sweep goes on with it: manage.py doctor."
    return by


def _stored(number: int) -> RetryBatch:
    batch = RetryBatch.objects.filter(pk=number).first()
    if batch is None:
        sys.exit(f"There is no batch {number}.")
    return batch
