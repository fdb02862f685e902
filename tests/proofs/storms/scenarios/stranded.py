"""Twenty thousand sagas were left behind by a broker that lost everything; a quarter of them, the oldest, cannot even be read."""

import time

import psycopg

from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

SWEEP_DEAD_AFTER_S = 30.0  # as /status sees it
COPY = """
WITH copies AS (
    INSERT INTO orders_order (SELECT (jsonb_populate_record(o, jsonb_build_object('id', nextval('orders_order_id_seq'), 'number', 'ORD-S' || n,
        'idempotency_key', 'stranded-' || n, 'status', 'processing', 'finished_at', NULL))).*
        FROM orders_order o, generate_series(1, %(count)s) n WHERE o.number = %(like)s)
    RETURNING id, number
), lines AS (
    INSERT INTO orders_orderline (SELECT (jsonb_populate_record(l, jsonb_build_object('id', nextval('orders_orderline_id_seq'), 'order_id', copies.id))).*
        FROM copies, orders_orderline l JOIN orders_order o ON o.id = l.order_id WHERE o.number = %(like)s)
), sagas AS (
    INSERT INTO fulfillment_saga (SELECT (jsonb_populate_record(s, jsonb_build_object('id', nextval('fulfillment_saga_id_seq'), 'order_id', copies.id,
        'state', 'running', 'epoch', 1, 'relaunches', 0, 'closed_at', NULL, 'opened_at', shop_now(), 'deadline_at', shop_now() + interval '1 day',
        'launched_at', shop_now() - interval '1 hour', 'wake_at', shop_now() - interval '1 hour' + substr(copies.number, 6)::int * interval '1 millisecond',
        'plan', CASE WHEN substr(copies.number, 6)::int <= %(poison)s THEN '["poison"]'::jsonb ELSE s.plan END))).*
        FROM copies, fulfillment_saga s JOIN orders_order o ON o.id = s.order_id WHERE o.number = %(like)s)
    RETURNING id, order_id
)
INSERT INTO fulfillment_steprecord (SELECT (jsonb_populate_record(NULL::fulfillment_steprecord, to_jsonb(r) || jsonb_build_object(
    'id', nextval('fulfillment_steprecord_id_seq'), 'saga_id', sagas.id, 'do_key', copies.number || ':' || r.name || ':do:1:' || s.nonce,
    'state', CASE WHEN r.position = 0 THEN 'scheduled' ELSE 'pending' END, 'tries', 0, 'claim', NULL, 'receipt', NULL,
    'scheduled_at', CASE WHEN r.position = 0 THEN shop_now() END, 'first_started_at', NULL, 'started_at', NULL, 'asked_until', NULL,
    'outcome_at', NULL))).*
    FROM sagas JOIN copies ON copies.id = sagas.order_id, fulfillment_steprecord r JOIN fulfillment_saga s ON s.id = r.saga_id
        JOIN orders_order o ON o.id = s.order_id WHERE o.number = %(like)s)
"""
STRANDED = "SELECT number FROM orders_order WHERE number LIKE 'ORD-S%'"
INCIDENTS = """
SELECT count(*) FROM orders_incident i JOIN fulfillment_saga s ON s.order_id = i.order_id JOIN orders_order o ON o.id = s.order_id
WHERE s.plan = '["poison"]' AND i.state = 'open' AND i.kind = 'quarantined' AND i.amount_minor = o.total_minor AND i.currency = o.currency
"""
LOG_LINES_OF_ITS_OWN = 500  # besides one for each incident: a line for each round that found something
HEALTHY = "SELECT count(*) FROM fulfillment_saga s JOIN orders_order o ON o.id = s.order_id WHERE o.number LIKE 'ORD-S%%' AND s.plan <> '[\"poison\"]' "
RELAUNCHED = HEALTHY + "AND s.launched_at > s.opened_at"
FULFILLED = HEALTHY + "AND o.status = 'fulfilled'"


def happens(storm: Storm) -> None:
    count, poison, shop = storm.how_many["sagas"], storm.how_many["poison"], storm.shop
    like = storm.place(1)[0]
    storm.rest(30)
    with shop.stopped("sweep"):
        _strand(storm, like, count, poison)
        shop.kill_whole("sweep")  # one that had worked all the while would have met them an hour ago
    storm.fault_ended()
    begun, healthy = time.monotonic(), count - poison
    silent_s = 0.0

    def relaunched() -> int:
        nonlocal silent_s
        age_s = shop.http.get(storm.stack.info["web"] + "/status").json()["numbers"].get("sweep_age_s") or 0.0
        silent_s = max(silent_s, min(age_s, time.monotonic() - begun))  # we had stopped it until then
        return int(shop.sql(RELAUNCHED)[0][0])

    storm.until("relaunching", relaunched, healthy, 60 + count / 20)
    rate = healthy / (time.monotonic() - begun)
    storm.until(
        "fulfilling the first of them",
        lambda: min(int(shop.sql(FULFILLED)[0][0]), storm.how_many["fulfilled"]),
        storm.how_many["fulfilled"],
        120,
    )
    storm.until("incidents of those that cannot be read", lambda: int(shop.sql(INCIDENTS)[0][0]), poison, 120 + poison / 5)
    incidents = int(shop.sql(INCIDENTS)[0][0])
    lines, tracebacks = _of_the_log(storm)
    storm.counts |= {
        "stranded": count,
        "of them poisonous": poison,
        "poisonous incidents": incidents,
        "relaunched": shop.sql(RELAUNCHED)[0][0],
        "a second": round(rate),
        "sweep silent at most (s)": round(silent_s),
        "lines in its log": lines,
        "tracebacks": tracebacks,
    }
    storm.expect(silent_s < storm.within(SWEEP_DEAD_AFTER_S), f"the sweep was silent for {silent_s:.0f} s")
    storm.expect(lines < incidents + LOG_LINES_OF_ITS_OWN, f"the sweep's log has {lines} lines for {incidents} incidents")
    storm.expect(tracebacks <= 2, f"the sweep's log has {tracebacks} tracebacks of one trouble")
    _people_hear_the_truth(storm, poison)


def _of_the_log(storm: Storm) -> tuple[int, int]:
    text = (storm.run_dir / "log" / "sweep.log").read_text()
    return text.count("\n"), text.count("Traceback")


def _people_hear_the_truth(storm: Storm, poison: int) -> None:
    """While none of them can be worked on."""
    number = "ORD-S1"
    why, doctor = storm.shop.manage("why", number), storm.shop.manage("doctor")
    for words in ("No process can work on it", "at risk", "The sweep has failed on it", "Someone has to look.", f"decide {number} retry"):
        storm.expect(words in why.stdout, f"why {number} does not say {words!r}: {why.stdout or why.stderr[-300:]}")
    words = f"the sweep cannot work on {poison} orders"
    storm.expect(words in doctor.stdout, f"doctor does not say {words!r}")
    page = storm.shop.http.get(f"/orders/{number}", params={"expand": "why"})
    storm.expect(page.status_code in (200, 404), f"the API answers {page.status_code} for an order that cannot be read")


def _strand(storm: Storm, like: str, count: int, poison: int) -> None:
    """As if their messages had been lost an hour ago: copies of an order that went well, before its first step; the oldest have a plan that nobody can read."""
    with psycopg.connect(storm.stack.info["database"], autocommit=True) as connection:
        storm.show("stranding sagas", 0, count)
        connection.execute(COPY, {"like": like, "count": count, "poison": poison})
        connection.execute("ANALYZE")
        storm.numbers += [number for (number,) in connection.execute(STRANDED)]


SCENARIO = Scenario(
    name="stranded",
    promise="Twenty thousand sagas were left behind, the oldest of them unreadable: every healthy one is relaunched, and each other has an incident.",
    happens=happens,
    sizes={SMALL: {"sagas": 400, "poison": 100, "fulfilled": 5}, FULL: {"sagas": 20_000, "poison": 5000, "fulfilled": 100}},
    minutes={SMALL: 0.8, FULL: 22.0},
    variables={"POISON_AFTER": "6"},  # inspections before an incident, so that it does not take the storm's time
    lies=True,
)
