"""Twenty thousand sagas were left behind by a broker that lost everything; a quarter of them, the oldest, cannot even be read."""

import time

import psycopg

from config.storming.scenario import FULL, SMALL, Scenario
from config.storming.storm import Storm

SWEEP_DEAD_AFTER_S = 30.0  # as /status sees it
COPY = """
WITH told AS (
    INSERT INTO orders_order (SELECT (jsonb_populate_record(o, jsonb_build_object('id', nextval('orders_order_id_seq'), 'number', 'ORD-S' || n,
        'idempotency_key', 'stranded-' || n, 'status', 'processing', 'finished_at', NULL))).*
        FROM orders_order o, generate_series(1, %(count)s) n WHERE o.number = %(like)s)
    RETURNING id, number
), lines AS (
    INSERT INTO orders_orderline (SELECT (jsonb_populate_record(l, jsonb_build_object('id', nextval('orders_orderline_id_seq'), 'order_id', told.id))).*
        FROM told, orders_orderline l JOIN orders_order o ON o.id = l.order_id WHERE o.number = %(like)s)
), sagas AS (
    INSERT INTO fulfillment_saga (SELECT (jsonb_populate_record(s, jsonb_build_object('id', nextval('fulfillment_saga_id_seq'), 'order_id', told.id,
        'state', 'running', 'epoch', 1, 'relaunches', 0, 'closed_at', NULL, 'opened_at', shop_now(), 'deadline_at', shop_now() + interval '1 day',
        'launched_at', shop_now() - interval '1 hour', 'wake_at', shop_now() - interval '1 hour' + substr(told.number, 6)::int * interval '1 millisecond',
        'plan', CASE WHEN substr(told.number, 6)::int <= %(poison)s THEN '["poison"]'::jsonb ELSE s.plan END))).*
        FROM told, fulfillment_saga s JOIN orders_order o ON o.id = s.order_id WHERE o.number = %(like)s)
    RETURNING id, order_id
)
INSERT INTO fulfillment_steprecord (SELECT (jsonb_populate_record(NULL::fulfillment_steprecord, to_jsonb(r) || jsonb_build_object(
    'id', nextval('fulfillment_steprecord_id_seq'), 'saga_id', sagas.id, 'do_key', told.number || ':' || r.name || ':do:1',
    'state', CASE WHEN r.position = 0 THEN 'granted' ELSE 'pending' END, 'tries', 0, 'claim', NULL, 'receipt', NULL,
    'granted_at', CASE WHEN r.position = 0 THEN shop_now() END, 'first_started_at', NULL, 'started_at', NULL, 'asked_until', NULL,
    'settled_at', NULL))).*
    FROM sagas JOIN told ON told.id = sagas.order_id, fulfillment_steprecord r JOIN fulfillment_saga s ON s.id = r.saga_id
        JOIN orders_order o ON o.id = s.order_id WHERE o.number = %(like)s)
"""
STRANDED = "SELECT number FROM orders_order WHERE number LIKE 'ORD-S%'"
POISON = "SELECT count(*) FROM fulfillment_saga s WHERE s.plan = '[\"poison\"]' AND s.relaunches > 0"
HEALTHY = "SELECT count(*) FROM fulfillment_saga s JOIN orders_order o ON o.id = s.order_id WHERE o.number LIKE 'ORD-S%%' AND s.plan <> '[\"poison\"]' "
RELAUNCHED = HEALTHY + "AND s.launched_at > s.opened_at"
FULFILLED = HEALTHY + "AND o.status = 'fulfilled'"


def happens(storm: Storm) -> None:
    count, poison, shop = storm.how_many["sagas"], storm.how_many["poison"], storm.shop
    like = storm.place(1)[0]
    storm.rest(30)
    with shop.stopped("sweep"):
        _strand(storm, like, count, poison)
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
    storm.counts |= {
        "stranded": count,
        "of them poisonous": poison,
        "poisonous tried": shop.sql(POISON)[0][0],
        "relaunched": shop.sql(RELAUNCHED)[0][0],
        "a second": round(rate),
        "sweep silent at most (s)": round(silent_s),
    }
    tried = storm.counts["poisonous tried"]
    storm.expect(tried == poison, f"only {tried} of {poison} that cannot be read were tried: the others were not in anybody's way")
    storm.expect(silent_s < SWEEP_DEAD_AFTER_S, f"the sweep was silent for {silent_s:.0f} s")


def _strand(storm: Storm, like: str, count: int, poison: int) -> None:
    """As if their messages had been lost an hour ago: copies of an order that went well, before its first step; the oldest have a plan that nobody can read."""
    with psycopg.connect(storm.stack.info["database"], autocommit=True) as connection:
        storm.show("stranding sagas", 0, count)
        connection.execute(COPY, {"like": like, "count": count, "poison": poison})
        connection.execute("ANALYZE")
        storm.numbers += [number for (number,) in connection.execute(STRANDED)]


SCENARIO = Scenario(
    name="stranded",
    promise="Twenty thousand sagas were left behind, the oldest of them unreadable: every healthy one is relaunched.",
    happens=happens,
    sizes={SMALL: {"sagas": 1000, "poison": 250, "fulfilled": 5}, FULL: {"sagas": 20_000, "poison": 5000, "fulfilled": 100}},
    minutes={SMALL: 0.6, FULL: 7.0},
    lies=True,
)
