"""A deploy that adds a step, in every order of restarting, while orders flow: two releases side by side on one database and one broker."""

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx

from tests.proofs.black_box.waiting import NothingCame, wait_for
from tests.proofs.storms.deployable_stack import DEPLOYED, TWINS
from tests.proofs.storms.next_release import NEWER, make
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

PARTS = {"web": ("web",), "worker": ("saga", TWINS["saga"]), "sweep": ("sweep", TWINS["sweep"])}
SHARES = 1 + sum(len(roles) for roles in PARTS.values())  # of the orders: one for each restart, and one afterwards
# The web first is the worst: it places orders that nobody else knows how to fulfil.
SEQUENCES = sorted(itertools.permutations(PARTS), key=lambda order: (-order.index("worker"), order))
SIDE_BY_SIDE_S = 1.0  # how long old and new stand beside each other at least
FLOW_S = 3.0  # about as long as one restart lasts
ALIVE_WITHIN_S = 60.0
REFUSED = "00422"  # an address that the carrier refuses: everything before it is compensated
PLACED_BY = (
    "SELECT count(*) FILTER (WHERE release < %s), count(*) FILTER (WHERE release = %s)"
    " FROM fulfillment_saga s JOIN orders_order o ON o.id = s.order_id WHERE o.number = ANY(%s)"
)
WRAPPED = (
    "SELECT r.state, count(*) FROM fulfillment_steprecord r JOIN fulfillment_saga s ON s.id = r.saga_id JOIN orders_order o ON o.id = s.order_id"
    " WHERE r.name = 'gift_wrap' AND o.number = ANY(%s) GROUP BY r.state"
)


def happens(storm: Storm) -> None:
    newer = make(storm.run_dir / "newer")
    counts = dict.fromkeys(("deploys", "of the older release", "of the newer release", "left to newer code"), 0)
    for sequence in SEQUENCES[: storm.how_many["sequences"]]:
        if counts["deploys"]:
            _deploy(storm, [role for roles in PARTS.values() for role in roles], None)
        good, refused = _deployed_under_orders(storm, sequence, newer)
        ended, due = storm.statuses(good + refused), {"fulfilled": len(good), "shipping_failed": len(refused)}
        older, new = storm.shop.sql(PLACED_BY, NEWER, NEWER, good + refused)[0]
        wrapped = dict(storm.shop.sql(WRAPPED, good + refused))
        order = ", ".join(sequence)
        storm.expect(ended == due, f"{order}: ended as {ended}, not as {due}")
        storm.expect(min(older, new) > 0, f"{order}: {older} orders were placed by the older release, {new} by the newer one")
        storm.expect(
            set(wrapped) <= {"succeeded", "compensated"} and sum(wrapped.values()) == new, f"{order}: {new} gifts to wrap, {wrapped}"
        )
        counts["deploys"] += 1
        counts["of the older release"] += older
        counts["of the newer release"] += new
    counts["left to newer code"] = _left(storm)
    storm.counts |= counts
    storm.expect(counts["left to newer code"] > 0, "no process met an order of a newer release: nothing is shown")
    incidents = storm.shop.sql("SELECT kind, count(*) FROM orders_incident GROUP BY kind")
    storm.expect(not incidents, f"incidents were opened: {incidents}")


def _deployed_under_orders(storm: Storm, sequence: tuple[str, ...], newer: Path) -> tuple[list[str], list[str]]:
    """The numbers of the orders that were placed meanwhile: those that can be fulfilled, and those that must be compensated."""
    good, refused = list[str](), list[str]()
    for part in sequence:
        for role in PARTS[part]:
            with _orders_flowing(storm, good, refused):
                storm.show(f"{', '.join(sequence)}: deploying {role}", 0, 1)
                if not _is_migrated(storm):
                    _migrate(storm, newer)
                _deploy(storm, [role], newer)
                time.sleep(SIDE_BY_SIDE_S)
        if not storm.fault_ended_at:  # the first deploy
            storm.diagnostics.take(f"deployed so far: {part}")
            storm.diagnosed()  # before the next part is deployed
        if part == "sweep":
            _turn_is_taken(storm)
    with _orders_flowing(storm, good, refused):  # of the newer release, also where the web was last
        storm.show("placing orders after the deploy", 0, 1)
    storm.fault_ended()
    storm.rest(60, good + refused)
    return good, refused


@contextmanager
def _orders_flowing(storm: Storm, good: list[str], refused: list[str]) -> Iterator[None]:
    """While one process is deployed, a part of the orders is placed: before it, while it is down, and after it."""
    count, few, begun = storm.how_many["orders"] // SHARES, storm.how_many["refused"] // SHARES, len(storm.numbers)
    with storm.orders_flowing(few, few / FLOW_S, postal_code=REFUSED), storm.orders_flowing(count, count / FLOW_S):
        yield
    placed = storm.numbers[begun:]
    good += placed[:count]
    refused += placed[count:]


def _is_migrated(storm: Storm) -> bool:
    return bool(storm.shop.sql("SELECT 1 FROM information_schema.columns WHERE table_name = 'fulfillment_saga' AND column_name = 'ribbon'"))


def _migrate(storm: Storm, newer: Path) -> None:
    run = storm.shop.python("manage.py", "migrate", "--noinput", folder=newer)
    storm.expect(run.returncode == 0, f"the newer release's migration failed: {run.stderr[-300:]}")


def _deploy(storm: Storm, roles: list[str], folder: Path | None) -> None:
    """They end in order, and are started again with the code of ``folder``; None: with their own. Returns when they are at work."""
    deployed, was = storm.run_dir / DEPLOYED, {role: storm.stack.pid(role) for role in roles}
    deployed.mkdir(exist_ok=True)
    for role in roles:
        if folder is None:
            (deployed / role).unlink(missing_ok=True)
        else:
            (deployed / role).write_text(str(folder))
        os.kill(was[role], signal.SIGTERM)
    for role in roles:
        storm.shop.wait_for_respawn(role, was[role], ALIVE_WITHIN_S)
        wait_for(partial(_is_at_work, storm, role), ALIVE_WITHIN_S)


def _is_at_work(storm: Storm, role: str) -> bool:
    if role == "web":
        try:
            return httpx.get(f"{storm.stack.info['web']}/healthz", timeout=2, verify=False).status_code == 200
        except httpx.TransportError:
            return False
    return role.startswith("sweep") or len(storm.shop.children_of(role)) >= 2


def _turn_is_taken(storm: Storm) -> None:
    """By a sweep of the newer release, although one of the older may still live."""
    try:
        wait_for(lambda: storm.shop.sql("SELECT release FROM orders_turnrow WHERE name = 'sweep'") == [(NEWER,)], 15)
    except NothingCame:
        storm.expect(False, "the sweep of the newer release has not taken the turn")


def _left(storm: Storm) -> int:
    return int(storm.shop.sql("SELECT count(DISTINCT order_id) FROM orders_timelineentry WHERE kind = 'left'")[0][0])


SCENARIO = Scenario(
    name="deploy",
    promise="A deploy adds a step while orders flow, whatever is restarted first: all end as they must, and no incident is opened.",
    happens=happens,
    sizes={SMALL: {"sequences": 2, "orders": 18, "refused": 6}, FULL: {"sequences": 6, "orders": 42, "refused": 12}},
    minutes={SMALL: 1.4, FULL: 3.3},
    program=("-m", "tests.proofs.storms.deployable_stack"),
)
