"""Promise: what is old enough goes, and nothing that anybody still needs: afterwards the books, the journal and every answer about an order are as before."""

import io
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pgtrigger
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from config import doctor
from config.management.commands.prune import HISTORY, _counted, _removed
from fulfillment.circuit import CircuitEntry
from fulfillment.clock import shop_now
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Quarantine, Reservation, RetryBatch, RetryItem, Saga, SagaState
from fulfillment.reconciliation import Rule
from orders.incidents import Incident, IncidentKind, IncidentState, open_incident
from orders.models import Fact, Order
from orders.refusals import RefusedAttempt
from orders.timeline import EntryKind, HistoryRow, TimelineEntry
from sideeffects.models import Delivery, DeliveryState
from tests.orders.conftest import Client
from tests.orders.named_customer import everything
from tests.reconciliation.pruning import LONG_AGO_D, aged, is_pruned, kinds_of, prune
from tests.reconciliation.shop import OWN_CHARGE, TOTAL, Shop

pytestmark = pytest.mark.usefixtures("cheap_hashing")


def rows() -> Counter[str]:
    """By table."""
    return Counter(line.partition(":")[0] for line in everything().splitlines())


# --- what goes, and what stays -------------------------------------------------------------------------------------------


def test_the_history_of_an_order_that_ended_long_ago_goes_and_nothing_else(shop: Shop, fulfilled: Order) -> None:
    """My order of the year before last costs the shop no more than its books."""
    aged(fulfilled)
    before, text = rows(), everything()

    assert prune()["history"]["removed"] == 1

    after = rows()
    history = before.pop("orders_history")
    assert history > 5
    assert after.pop("orders_history", 0) == 0
    assert after == before
    changed = set(everything().splitlines()) - set(text.splitlines())
    assert [line.partition(":")[0] for line in changed] == ["fulfillment_saga"]


def test_what_people_have_decided_stays(shop: Shop, closed: Order) -> None:
    """Two operators have written my money off: who, when and why stands there for ever."""
    TimelineEntry.objects.create(order=closed, kind=EntryKind.CANCEL, to_state="requested", actor="web-shop")
    aged(closed)
    decided = list(TimelineEntry.objects.filter(order=closed, kind=EntryKind.OPERATOR).values())
    assert decided

    prune()

    assert kinds_of(closed) == {EntryKind.OPERATOR, EntryKind.CANCEL}
    assert list(TimelineEntry.objects.filter(order=closed, kind=EntryKind.OPERATOR).values()) == decided


def young(order: Order) -> None:
    Saga.objects.filter(order=order).update(closed_at=shop_now() - timedelta(days=399))


def not_ended(order: Order) -> None:
    Saga.objects.filter(order=order).update(state=SagaState.NEEDS_ATTENTION)


def with_incident(order: Order) -> None:
    open_incident(IncidentKind.MISMATCH, subject=order.number, order_id=order.pk, currency="EUR", code=Rule.MONEY_MISSING)


def with_incident_by_its_number(order: Order) -> None:
    open_incident(IncidentKind.ORPHAN_PAYMENT, subject=order.number, currency="EUR", code=Rule.UNKNOWN_ORDER)


def snoozed(order: Order) -> None:
    with_incident(order)
    Incident.objects.update(state=IncidentState.SNOOZED)


def not_begun(order: Order) -> None:
    Fact.objects.filter(order=order).update(relayed_at=None)


def not_delivered(order: Order, state: str = DeliveryState.DEAD) -> None:
    Delivery.objects.create(fact=order.facts.get(type="order.fulfilled"), subscriber="email", state=state, wake_at=shop_now())


def held(order: Order) -> None:
    not_delivered(order, DeliveryState.SUBSCRIBER_REMOVED)


def waits(order: Order) -> None:
    not_delivered(order, DeliveryState.RETRY_WAIT)


def in_quarantine(order: Order) -> None:
    now = shop_now()
    Quarantine.objects.create(saga_id=order.saga.pk, order_id=order.pk, failures=1, code="x", first_at=now, last_at=now, inspect_at=now)


def holds_stock(order: Order) -> None:
    Reservation.objects.update(state=Reservation.State.HELD)


NEEDED: dict[Callable[[Order], None], str] = {
    not_ended: "it has not ended",
    with_incident: "an incident of it is open",
    with_incident_by_its_number: "an incident of it is open",
    snoozed: "an incident of it is open",
    not_begun: "a side effect of it was not begun",
    not_delivered: "a side effect of it was not delivered",
    held: "a side effect of it was not delivered",
    waits: "a side effect of it was not delivered",
    in_quarantine: "no process can work on it",
    holds_stock: "stock is held for it",
}


def test_what_somebody_still_needs_is_kept_and_told(shop: Shop, fulfilled: Order) -> None:
    """However long ago it was: as long as somebody works on my order, they can read what has happened to it."""
    aged(fulfilled)
    whole = kinds_of(fulfilled)

    for happens, why in NEEDED.items():
        with transaction.atomic():
            happens(fulfilled)
            assert prune("--dry-run")["history"]["kept"] == {why: 1}, happens.__name__
            assert prune()["history"]["removed"] == 0, happens.__name__
            assert kinds_of(fulfilled) >= whole, happens.__name__
            transaction.set_rollback(True)

    assert prune()["history"]["removed"] == 1


def test_what_is_young_is_kept(shop: Shop, fulfilled: Order) -> None:
    aged(fulfilled)
    young(fulfilled)

    assert prune("--dry-run")["history"]["found"] == prune()["history"]["removed"] == 0
    assert not is_pruned(fulfilled)


def test_an_order_that_failed_and_whose_money_is_still_with_us_is_kept(shop: Shop, failed: Order) -> None:
    """I was not sent anything, and not all of my money was given back: nothing about my order goes."""
    LedgerEntry.objects.create(order=failed, step="payment", operation="captured", key="late", amount_minor=1)
    aged(failed)

    assert prune()["history"] | {"before": ""} == {
        "setting": "KEEP_HISTORY_D",
        "days": 400,
        "before": "",
        "unit": "orders",
        "found": 0,
        "oldest": None,
        "removed": 0,
        "kept": {"money of it is neither given back nor written off": 1},
    }
    assert not is_pruned(failed)


def test_orders_that_failed_and_were_refunded_or_written_off_go(shop: Shop, closed: Order) -> None:
    refunded = shop.place("ORD-2", postal_code="00422")
    aged(closed, refunded)

    assert prune()["history"]["removed"] == 2


def test_while_an_incident_is_about_orders_that_it_does_not_name_all_histories_are_kept(shop: Shop, fulfilled: Order) -> None:
    """A reconciliation has found 4,000 orders that are off: mine may be one of them."""
    aged(fulfilled)

    for code, subject in ((Rule.LEDGER_AGREES, "many at once, EUR"), (Rule.UNEXPLAINED, "money EUR"), (Rule.FORGOTTEN_ORDERS, "orders")):
        incident = open_incident(code.kind, subject=subject, currency="EUR", code=code, count=4_000)
        (why,) = prune("--dry-run")["history"]["kept"]
        assert "orders that it does not name" in why
        assert prune()["history"]["removed"] == 0
        Incident.objects.filter(pk=incident.pk).update(state=IncidentState.RESOLVED)

    assert prune()["history"]["removed"] == 1


def test_a_kind_whose_setting_is_0_is_kept_for_ever(shop: Shop, fulfilled: Order, settings: Any) -> None:
    settings.KEEP_HISTORY_D = 0
    aged(fulfilled, days=30_000)

    assert "history" not in prune()
    assert not is_pruned(fulfilled)


# --- the other kinds -----------------------------------------------------------------------------------------------------


def test_what_else_is_over_goes(db: None) -> None:
    """Refusals, circuits, bulk retries and incidents of the machinery, each after its own time; what concerns an order or money stays."""
    old, now = shop_now() - timedelta(days=LONG_AGO_D), shop_now()
    for at in (old, now):
        RefusedAttempt.objects.create(at=at, verb="close", sentence="no")
        CircuitEntry.objects.create(at=at, circuit="payments.sandbox.do", to_state="open")
        for confirmed in (at, None):
            batch = RetryBatch.objects.create(previewed_at=at, confirmed_at=confirmed, ended_at=confirmed)
            RetryItem.objects.create(batch=batch, order="ORD-1", currency="EUR")
        Incident.objects.create(subject="x", kind=IncidentKind.CRASH_LOOP, currency="EUR", state="resolved", opened_at=at, resolved_at=at)
    RetryBatch.objects.create(previewed_at=old, confirmed_at=old)  # at work
    Incident.objects.create(subject="y", kind=IncidentKind.CRASH_LOOP, currency="EUR", opened_at=old)
    for kind, minor in ((IncidentKind.ORPHAN_PAYMENT, 0), (IncidentKind.CRASH_LOOP, 1)):
        about = {"subject": "z", "kind": kind, "amount_minor": minor, "state": "resolved"}
        Incident.objects.create(**about, currency="EUR", opened_at=old, resolved_at=old)

    dry = {kind: one["found"] for kind, one in prune("--dry-run").items()}
    done = {kind: one["removed"] for kind, one in prune("--batch", "3").items()}

    expected = {"history": 0, "circuit-entries": 1, "retry-items": 2, "retry-batches": 2, "incidents": 1, "refused-attempts": 1}
    assert done == expected
    assert dry == expected | {"retry-batches": 0}  # they go with their last order
    assert RetryBatch.objects.count() == 3
    assert Incident.objects.count() == 4
    assert all(at > old for kept in (RefusedAttempt, CircuitEntry) for at in kept.objects.values_list("at", flat=True))


def test_a_clock_that_was_ahead_hides_nothing(db: None) -> None:
    """Once a row was written with an instant of the next century."""
    old = shop_now() - timedelta(days=LONG_AGO_D)
    for at in (shop_now() + timedelta(days=9_999), old, old):
        RefusedAttempt.objects.create(at=at, verb="close", sentence="no")

    assert prune("--batch", "2")["refused-attempts"]["removed"] == 2


# --- batches -------------------------------------------------------------------------------------------------------------


def test_a_batch_is_bounded_and_its_own_transaction(shop: Shop) -> None:
    orders = [shop.place(f"ORD-{n}", token="tok_declined") for n in range(5)]
    aged(*orders)
    with_incident(orders[1])

    with CaptureQueriesContext(connection) as statements:
        prune("--only", "history", "--batch", "2")

    removed = [one["sql"] for one in statements.captured_queries if 'DELETE FROM "orders_history"' in one["sql"]]
    assert len(removed) == 3
    assert [is_pruned(order) for order in orders] == [True, False, True, True, True]


def test_only_so_many_a_second(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders that are placed now do not wait for what is removed."""
    orders = [shop.place(f"ORD-{n}", token="tok_declined") for n in range(3)]
    aged(*orders)
    slept: list[float] = []
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    monkeypatch.setattr("time.sleep", slept.append)

    prune("--only", "history", "--batch", "1", "--rate", "0.5")

    assert [round(seconds) for seconds in slept] == [2, 4, 6]


def test_progress_is_shown_of_how_many(shop: Shop) -> None:
    """I see how much is done, of how much; the bar computes how long the rest takes."""
    aged(*(shop.place(f"ORD-{n}", token="tok_declined") for n in range(3)))
    old = _counted(HISTORY)
    assert old is not None
    seen: list[tuple[str, int, int | None]] = []

    _removed(old, 2, None, lambda *progress: seen.append(progress))

    assert seen == [("pruning history", 2, 3), ("pruning history", 3, 3)]


def test_a_batch_that_is_too_large_is_refused(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("prune", "--batch", "10001")

    assert ended.value.code == 2
    assert "--batch is at most 10,000" in capsys.readouterr().err


# --- a dry run -----------------------------------------------------------------------------------------------------------


def test_a_dry_run_counts_and_writes_nothing(shop: Shop, fulfilled: Order) -> None:
    """I see what would go before anything does."""
    aged(fulfilled)
    RefusedAttempt.objects.create(at=shop_now() - timedelta(days=LONG_AGO_D), verb="close", sentence="no")
    ended = f"{Saga.objects.get(order=fulfilled).closed_at:%Y-%m-%d %H:%M:%S}"
    before = everything()
    said = io.StringIO()

    call_command("prune", "--dry-run", stdout=said)

    lines = said.getvalue().splitlines()
    assert f"  history: 1 orders older than 400 days (KEEP_HISTORY_D), the oldest of {ended} UTC" in lines
    assert any(line.startswith("  refused-attempts: 1 rows older than 400 days") for line in lines)
    assert "  circuit-entries: 0 rows older than 400 days (KEEP_CIRCUIT_ENTRIES_D)" in lines
    assert everything() == before
    assert RefusedAttempt.objects.count() == 1


# --- afterwards ----------------------------------------------------------------------------------------------------------


def test_a_reconciliation_finds_nothing_about_it_and_still_misses_what_nobody_has_pruned(shop: Shop, closed: Order) -> None:
    """A history that is gone for any other reason is found as before."""
    fulfilled, lost = shop.place("ORD-2"), shop.place("ORD-3")
    aged(closed, fulfilled)
    with pgtrigger.ignore("orders.HistoryRow:append_only"):
        HistoryRow.objects.filter(order=lost).delete()
    before = shop.found()
    assert {(subject, rule) for subject, rule, _ in before} == {("ORD-3", Rule.HISTORY_REBUILDS_THE_JOURNAL)}

    assert prune()["history"]["removed"] == 2

    assert shop.found() == before


def test_what_lands_late_for_such_an_order_is_given_back(shop: Shop, declined: Order) -> None:
    """My bank has charged me two years after my card was declined: I get it back as if it had been yesterday."""
    aged(declined)
    prune()
    shop.plant("charge", "ORD-1", OWN_CHARGE)

    found = shop.reconcile().findings

    assert [(finding.rule, finding.repaired) for finding in found] == [(Rule.LATE, True)]
    assert shop.provider.effects("ORD-1") == [("charge", OWN_CHARGE, TOTAL), ("refund", OWN_CHARGE, TOTAL)]
    assert shop.found() == []
    assert kinds_of(declined) == {EntryKind.INCIDENT, EntryKind.OPERATOR}  # of what has happened since


def test_every_view_of_it_works_and_says_so(shop: Shop, fulfilled: Order, sign_in: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """I look my old order up: it is there, and I am told that its history is not."""
    client = Client("reader")
    Order.objects.update(client=client.user)
    aged(fulfilled)
    prune()

    answer = client.get(f"/orders/{fulfilled.number}?expand=timeline,why,steps,deliveries")
    assert answer.status_code == 200
    assert [entry["kind"] for entry in answer.json()["timeline"]] == ["pruned"]
    assert "was removed" in answer.json()["timeline"][0]["sentence"]
    assert answer.json()["status"] == "fulfilled"
    for cursor in (0, 12):
        events = client.get(f"/orders/{fulfilled.number}/events?cursor={cursor}").json()
        assert (events["data"], events["next_cursor"]) == ([], str(cursor))

    call_command("why", fulfilled.number)
    call_command("timeline", fulfilled.number)
    said = capsys.readouterr().out
    assert "Every step succeeded" in said
    assert "  history     removed " in said
    assert "Removed on " in said

    operator = Browser()
    operator.force_login(User.objects.create(username="amara", is_staff=True, is_superuser=True))
    page = operator.get(f"/admin/orders/order/{fulfilled.pk}/change/")
    assert page.status_code == 200
    assert "except for what people have decided" in page.content.decode()
    assert list(doctor.examine())


def test_everybody_else_may_still_not_remove_history(shop: Shop, fulfilled: Order) -> None:
    """The guard is lifted for the statement that prunes, and stands again behind it."""
    aged(fulfilled)
    prune()
    entry = HistoryRow.objects.create(order=fulfilled, kind=EntryKind.OPERATOR, code="note", actor="amara")

    for remove in (entry.delete, lambda: HistoryRow.objects.filter(pk=entry.pk).update(actor="nobody")):
        with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic():
            remove()
