"""Nobody delivers side effects, and thousands of deliveries are due: orders do not notice, nothing piles up, and afterwards each is delivered once."""

import time
from collections import Counter
from typing import Any

import psycopg

from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.broker_monitor import BrokerMonitor, broker_of
from tests.proofs.storms.mails import mails_of
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

NOBODY_DELIVERS = "nobody delivers"
QUEUE, PROBE = "sideeffects", "sideeffects.probe"
SUBSCRIBERS = 4
SILENT_S = 30.0  # as /status sees it
SERVED_WITHIN_S = 15.0  # an order that needs two retries: about one second, on a machine that does nothing else
AT_MOST = 0.01
COPY = """
WITH copies AS (
    INSERT INTO orders_order (SELECT (jsonb_populate_record(o, jsonb_build_object('id', nextval('orders_order_id_seq'), 'number', 'ORD-F' || n,
        'idempotency_key', 'starved-' || n))).* FROM orders_order o, generate_series(1, %(count)s) n WHERE o.number = %(like)s)
    RETURNING id, number
), lines AS (
    INSERT INTO orders_orderline (SELECT (jsonb_populate_record(l, jsonb_build_object('id', nextval('orders_orderline_id_seq'), 'order_id', copies.id))).*
        FROM copies, orders_orderline l JOIN orders_order o ON o.id = l.order_id WHERE o.number = %(like)s)
)
INSERT INTO orders_fact (id, order_id, type, version, correlation_id, payload, at)
    SELECT gen_random_uuid(), copies.id, f.type, f.version, f.correlation_id, f.payload || jsonb_build_object('number', copies.number),
        shop_now() - interval '1 hour'
    FROM copies, orders_fact f JOIN orders_order o ON o.id = f.order_id WHERE o.number = %(like)s AND f.type = 'order.fulfilled'
"""
DELIVERIES = """
SELECT count(*) FROM sideeffects_delivery d JOIN orders_fact f ON f.id = d.event_id JOIN orders_order o ON o.id = f.order_id
WHERE (o.number LIKE 'ORD-F%%' OR o.number = ANY(%s))
"""
DELIVERED = DELIVERIES + " AND d.state = 'delivered'"
TRIES = DELIVERED.replace("count(*)", "sum(d.tries)")
LAUNCHED = DELIVERIES + " AND d.relaunches > 0"
AUDIT = """
import django
django.setup()
from sideeffects import subscriber_audits
print([f"{name}: {found}" for name, found in subscriber_audits.complaints()])
"""


class Messages:
    """What is put into the side effects' queue: how many, and how many for each delivery."""

    def __init__(self) -> None:
        self.probes = 0
        self.of: Counter[str] = Counter()

    def __call__(self, queue: str, envelope: dict[str, Any]) -> None:
        if queue != QUEUE:
            return
        if envelope["headers"]["task"] == PROBE:
            self.probes += 1
        else:
            self.of[f"{envelope['headers']['task']} {envelope['headers']['kwargsrepr']}"] += 1


def happens(storm: Storm) -> None:
    facts, shop, messages = storm.how_many["facts"], storm.shop, Messages()
    wait_for(lambda: shop.sql("SELECT count(*) FROM sideeffects_subscriber") == [(SUBSCRIBERS,)], 30)
    like = storm.place(1)[0]
    storm.until("delivering the first", lambda: _count(storm, DELIVERED, [like]), SUBSCRIBERS, 60)
    due = facts * SUBSCRIBERS
    with BrokerMonitor(broker_of(storm), messages).listening():
        with shop.stopped("sideeffects"):
            _pile_up(storm, like, facts)
            served_s, silent_s = _serve(storm, due)
            storm.diagnostics.take(NOBODY_DELIVERS, storm.numbers[-1])
            doctor = storm.diagnosed()[NOBODY_DELIVERS]["doctor"]  # waits: afterwards somebody delivers again
            longest = int(broker_of(storm).llen(QUEUE))
        storm.fault_ended()
        everybody = [*storm.numbers]
        total = due + SUBSCRIBERS * len(everybody)
        storm.until("delivering", lambda: _count(storm, DELIVERED, everybody), total, 120 + total / 20)
    published = sum(messages.of.values())
    tries = _count(storm, TRIES, everybody)  # a try that failed needs a message for the next one
    needed = tries - SUBSCRIBERS  # those of the first order went out before anybody listened
    extra = published - needed
    storm.counts |= {
        "deliveries due": due,
        "queue at most": longest,
        "messages": published,
        "extra": extra,
        "probes": messages.probes,
        "served after at most (s)": round(served_s, 1),
        "loops silent at most (s)": round(silent_s, 1),
        "delivered": _count(storm, DELIVERED, everybody),
    }
    wanted = 'no worker answers for queue "sideeffects"'
    storm.expect(wanted in str(doctor), f"doctor does not say that nobody consumes the side effects' queue: {doctor}")
    storm.expect(extra >= 0, f"{-extra} of {needed} messages were not seen: nothing can be said about the rest")
    storm.expect(extra <= AT_MOST * needed, f"{extra} extra messages for {needed} that were needed")
    bound = (due + SUBSCRIBERS * len(everybody)) * (1 + AT_MOST)
    storm.expect(longest <= bound, f"{longest} messages waited for {due} deliveries")
    storm.expect(served_s < storm.within(SERVED_WITHIN_S), f"an order waited for {served_s:.0f} s beside the deliveries")
    storm.expect(silent_s < storm.within(SILENT_S), f"a loop was silent for {silent_s:.0f} s")
    mails, wanted_mails = mails_of(storm), {*everybody, *(f"ORD-F{number}" for number in range(1, facts + 1))}
    storm.expect(
        set(mails) == wanted_mails and len(mails) == len(wanted_mails),
        f"{len(mails)} mails for {len(wanted_mails)} orders; they differ in {sorted(wanted_mails ^ set(mails))[:5]}",
    )
    audited = shop.python("-c", AUDIT, variables={"DJANGO_SETTINGS_MODULE": "config.settings"}, within_s=300)
    storm.expect(audited.stdout.strip() == "[]", f"the subscribers' own audits: {(audited.stdout or audited.stderr)[-300:]}")


def _pile_up(storm: Storm, like: str, facts: int) -> None:
    """As if the fast path had lost their messages an hour ago: facts of which nobody has a delivery; a probe proves it at once."""
    with psycopg.connect(storm.stack.info["database"], autocommit=True) as connection:
        storm.show("piling up", 0, facts)
        connection.execute(
            "INSERT INTO fulfillment_queueprobe (queue, out_at, unanswered) VALUES ('sideeffects', shop_now(), 0)"
            " ON CONFLICT (queue) DO UPDATE SET out_at = excluded.out_at"
        )
        connection.execute(COPY, {"count": facts, "like": like})
        connection.execute("ANALYZE")


def _serve(storm: Storm, due: int) -> tuple[float, float]:
    """While everything is published: orders that need the sweep. (the longest that one took, the longest silence of a loop), in seconds."""
    worst_s = silent_s = 0.0
    deadline = time.monotonic() + storm.how_many["lasts_s"]
    while time.monotonic() < deadline or _count(storm, LAUNCHED, []) < due:
        begun = time.monotonic()
        number = storm.shop.place_stubbornly(60, token="tok_flaky_2")
        storm.numbers.append(number)
        if not storm.until("an order beside it", lambda number=number: storm.statuses([number]).get("fulfilled", 0), 1, 90):  # type: ignore[misc]
            break
        worst_s = max(worst_s, time.monotonic() - begun)
        numbers = _status(storm)["numbers"]
        silent_s = max(silent_s, numbers.get("sweep_age_s") or 0.0, numbers.get("relay_age_s") or 0.0)
        storm.show("publishing what is due", min(_count(storm, LAUNCHED, []), due), due)
        if time.monotonic() > deadline + 60 + due / 20:
            storm.expect(False, f"only {_count(storm, LAUNCHED, [])} of {due} deliveries were published")
            break
    return worst_s, silent_s


def _status(storm: Storm) -> dict[str, Any]:
    return dict(storm.shop.http.get(storm.stack.info["web"] + "/status").json())


def _count(storm: Storm, query: str, numbers: list[str]) -> int:
    return int(storm.shop.sql(query, numbers)[0][0])


SCENARIO = Scenario(
    name="starved",
    promise="Twenty thousand deliveries are due and nobody delivers: orders do not notice, nothing piles up, afterwards each is delivered once.",
    happens=happens,
    sizes={SMALL: {"facts": 250, "lasts_s": 8}, FULL: {"facts": 5000, "lasts_s": 60}},
    minutes={SMALL: 0.8, FULL: 4.0},
    lies=True,
)
