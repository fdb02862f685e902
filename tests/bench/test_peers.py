"""Promise: what the bench says about peers is what they did. Whoever left wrong rows is not counted, and a ratio is of runs side by side."""

import dataclasses
import importlib.metadata
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import psycopg
import pytest

from tests.bench.peers import quick, rounds
from tests.bench.peers.books import Files, Rows
from tests.bench.peers.catalogue import ALL, BY_NAME, DBOS, OURS, Peer
from tests.bench.peers.chart import chart
from tests.bench.peers.installation import REQUIREMENTS
from tests.bench.peers.measuring import Burst, Measured
from tests.bench.peers.programs import work
from tests.bench.peers.programs.program import ENTRY
from tests.bench.peers.rounds import Found, run_rounds
from tests.bench.peers.servers import SCHEMA, PeerFailed

ORDERS = 3
DATABASE = "books_of_the_bench"


@pytest.fixture
def done() -> Iterator["psycopg.Connection[tuple[int]]"]:
    """A database in which everything was done for three orders."""
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {DATABASE}")
        with psycopg.connect(url.replace("/postgres?", f"/{DATABASE}?"), autocommit=True) as own:
            own.execute(SCHEMA.read_bytes())
            for order in range(1, ORDERS + 1):
                steps = [step(order) for step in (work.place, *work.STEPS)]
                for step in (*steps, *(work.effect(order, kind) for kind in work.EFFECTS)):
                    work.perform(step, own.cursor())
            yield own
        server.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def test_whoever_did_everything_is_counted(done: "psycopg.Connection[tuple[int]]") -> None:
    books = Rows(done)

    assert books.wrong(1, ORDERS) == ""
    assert books.next_number() == ORDERS + 1
    assert books.effects(2) == len(work.EFFECTS) * (ORDERS - 1)
    assert all(one.submitted <= one.fulfilled <= one.last_effect for one in books.times(1))
    assert len(books.times(1)) == ORDERS


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM payments WHERE order_id = 2",
        "DELETE FROM shipments WHERE order_id = 2",
        "DELETE FROM effects WHERE order_id = 2 AND kind = 'email'",
        "INSERT INTO effects (order_id, kind) VALUES (2, 'email again')",
        "UPDATE orders SET status = 'shipped' WHERE id = 2",
        "UPDATE stock SET available = available - 1 WHERE product_id = 7",
    ],
)
def test_whoever_left_something_out_or_did_it_twice_is_not(done: "psycopg.Connection[tuple[int]]", harm: str) -> None:
    done.execute(harm.encode())

    assert Rows(done).wrong(1, ORDERS) != ""


def test_celery_alone_is_judged_by_what_its_tasks_have_noted(tmp_path: Path) -> None:
    books = Files(tmp_path)
    for name, times in {"submitted": 1, "fulfilled": 1, "effects": 4}.items():
        entries = [(order, 1.0 + order) for order in range(5, 5 + ORDERS) for _ in range(times)]
        (tmp_path / name).write_bytes(b"".join(ENTRY.pack(*entry) for entry in entries))

    assert books.wrong(5, ORDERS) == ""
    assert books.wrong(5, ORDERS + 1) != ""
    assert books.next_number() == 5 + ORDERS


def test_a_ratio_is_of_the_same_round_and_its_median_is_shown() -> None:
    """A slow minute slows both: three rounds, one of which is twice as slow."""
    found = of(ours=[10.0, 20.0, 12.0], dbos=[30.0, 60.0, 24.0])

    assert found.ratio(OURS, DBOS) == 3.0


def test_a_run_beside_a_busy_stranger_does_not_count_if_there_is_another() -> None:
    found = of(ours=[10.0, 50.0], dbos=[30.0, 50.0], foreign=[0.02, 0.6])

    assert found.ratio(OURS, DBOS) == 3.0
    assert found.marked == 2
    assert of(ours=[10.0], dbos=[30.0], foreign=[0.6]).ratio(OURS, DBOS) == 3.0


def test_a_run_that_failed_is_told_and_makes_no_ratio() -> None:
    def measure(peer: Peer, is_first: bool) -> Measured:
        if peer.name == DBOS:
            raise PeerFailed("it stands still")
        return Measured(burst=burst(10.0), calm=None)

    found = run_rounds([BY_NAME[OURS], BY_NAME[DBOS]], 2, measure)

    assert found.ratio(OURS, DBOS) is None
    assert found.failures == ["round 1, dbos: it stands still", "round 2, dbos: it stands still"]
    assert len(found.runs) == 2


@pytest.mark.parametrize(("ms", "is_good"), [(10.0, True), (10.9, True), (11.5, False)])
def test_a_quick_run_fails_if_an_order_has_become_more_than_a_tenth_dearer(
    ms: float, is_good: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick, "KEPT", tmp_path / "reference.json")
    quick.keep(of(ours=[10.0], dbos=[30.0], raw=[8.0]))

    assert quick.judged(of(ours=[ms], dbos=[30.0], raw=[8.0]))[1] is is_good


def test_a_quick_run_without_the_other_s_figures_is_no_good_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "KEPT", tmp_path / "reference.json")
    quick.keep(of(ours=[10.0], dbos=[30.0], raw=[8.0]))

    assert not quick.judged(of(ours=[10.0], raw=[8.0]))[1]
    assert not quick.judged(of(ours=[10.0], dbos=[30.0], raw=[8.0], foreign=[rounds.MARKED_ABOVE * 2]))[1]


def test_the_chart_has_a_bar_for_each_peer_and_a_part_for_each_side() -> None:
    drawn = ElementTree.fromstring(chart({"ours": [1.0, 2.0, 3.0, 4.0], "a <b>": [1.0, 1.0, 0.0, 0.0]}))

    space = "{http://www.w3.org/2000/svg}"
    assert [text.text for text in drawn.iter(f"{space}text")][:4] == ["ours", "10.0", "a <b>", "2.0"]
    assert len(list(drawn.iter(f"{space}rect"))) == 2 * 4 + 4


def test_what_the_peers_share_with_the_shop_is_of_the_same_version() -> None:
    """Celery beside Celery, and not beside an older one."""
    pinned = dict(re.findall(r"^([a-z-]+)==([^ ]+)", REQUIREMENTS.read_text(), re.MULTILINE))

    for name in ("celery", "kombu", "redis", "hiredis", "django", "psycopg"):
        assert pinned[name] == importlib.metadata.version(name), name
    assert {"dbos", "procrastinate"} <= {*pinned}


def test_every_peer_is_explained() -> None:
    page = (REQUIREMENTS.parents[3] / "docs" / "performance.md").read_text()

    assert [peer.name for peer in ALL if f"`{peer.name.removesuffix('+events')}`" not in page] == []


def of(foreign: Sequence[float] = (), **ms: Sequence[float]) -> Found:
    """What rounds would have found in which an order costs so many milliseconds."""
    shares = [*foreign] or [0.0] * len(ms[OURS])
    bursts = {name: [burst(cost, share) for cost, share in zip(costs, shares, strict=True)] for name, costs in ms.items()}
    return Found(bursts=bursts, calms={}, failures=[])


def burst(ms: float, foreign: float = 0.0) -> Burst:
    figures = dict.fromkeys((field.name for field in dataclasses.fields(Burst)), 0.0)
    return Burst(**(figures | {"orders": 1, "workers_ms": ms, "foreign": foreign}))  # type: ignore[arg-type]
