What a delivery costs while all goes well: one statement before its effect, and one after it. The rare paths (a later try, a failure, an open circuit) use the ORM
(deliveries.py). Neither of these statements waits for the disk: if one is lost, the delivery is repeated.

A WITH query that is volatile is run as it stands, once, before what reads from it. So the lock is taken before the row is written.
Columns that are not named get the default of their model.

-- name: begin_first_try
-- Begins the transaction of a first try on our own rows: its limits, its lock, and the fact with its order. No row: there is a delivery, or somebody delivers it now.
-- Lock and read have one snapshot. If a twin commits between them, its row is not seen here. Then write_first_success finds it.
WITH begun AS MATERIALIZED (
    SELECT
        set_config('synchronous_commit', 'off', true),
        set_config('statement_timeout', %(timeout_ms)s, true),
        pg_try_advisory_xact_lock(hashtextextended(%(lock)s, 0)) AS is_mine
)
SELECT {fact}, {order}
FROM begun
JOIN orders_fact AS fact ON fact.id = %(fact)s
JOIN orders_order AS bought ON bought.id = fact.order_id
WHERE begun.is_mine
    AND NOT EXISTS (SELECT FROM sideeffects_delivery AS tried WHERE tried.event_id = fact.id AND tried.subscriber = %(subscriber)s::text)

-- name: write_first_success
-- The effect is on our rows: "delivered" and its history entry commit with it. Violates delivery_once_per_subscriber: somebody else has written the delivery.
-- (ON CONFLICT would log each row a second time, as confirmed.)
WITH delivered AS (
    INSERT INTO sideeffects_delivery (event_id, subscriber, state, tries, delivered_at)
    VALUES (%(fact)s, %(subscriber)s::text, 'delivered', 1, shop_now())
    RETURNING subscriber
)
INSERT INTO orders_history (order_id, kind, name, to_state) SELECT %(order)s::bigint, 'delivery', subscriber, 'delivered' FROM delivered
RETURNING id

-- name: start_first_try
-- Before an effect outside: the try is claimed under a lease, and committed. No row: there is a delivery, its circuit is open, or somebody delivers it now.
-- The unique key of the delivery decides between two: the later one violates delivery_once_per_subscriber. The lock says to whoever asks (is_being_delivered) that the message was not lost.
WITH begun AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true), pg_try_advisory_xact_lock(hashtextextended(%(lock)s, 0)) AS is_mine
), started AS (
    INSERT INTO sideeffects_delivery (event_id, subscriber, state, tries, wake_at, claim)
    SELECT fact.id, %(subscriber)s::text, 'started', 1, shop_now() + make_interval(secs => %(lease_s)s), %(claim)s
    FROM begun
    JOIN orders_fact AS fact ON fact.id = %(fact)s
    WHERE begun.is_mine
        AND NOT EXISTS (SELECT FROM sideeffects_delivery AS tried WHERE tried.event_id = fact.id AND tried.subscriber = %(subscriber)s::text)
        AND NOT EXISTS (SELECT FROM sideeffects_circuit AS circuit WHERE circuit.subscriber = %(subscriber)s::text AND circuit.opened_at IS NOT NULL)
    RETURNING *
), written AS (
    INSERT INTO orders_history (order_id, kind, name, to_state)
    SELECT fact.order_id, 'delivery', started.subscriber, 'started'
    FROM started JOIN orders_fact AS fact ON fact.id = started.event_id
)
SELECT EXISTS (SELECT FROM sideeffects_circuit AS circuit WHERE circuit.subscriber = %(subscriber)s::text), {delivery}, {fact}, {order}
FROM started AS delivery
JOIN orders_fact AS fact ON fact.id = delivery.event_id
JOIN orders_order AS bought ON bought.id = fact.order_id

-- name: record_success
-- A try that was started has succeeded. No row: its claim is old, and somebody else owns the delivery.
WITH begun AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
), delivered AS (
    UPDATE sideeffects_delivery
    SET state = 'delivered', delivered_at = shop_now(), claim = NULL, wake_at = NULL, launched_at = NULL, failing_since = NULL,
        error_code = '', error_message = ''
    FROM begun
    WHERE id = %(delivery)s AND state = 'started' AND claim = %(claim)s
    RETURNING subscriber
)
INSERT INTO orders_history (order_id, kind, name, from_state, to_state)
SELECT %(order)s::bigint, 'delivery', subscriber, 'started', 'delivered' FROM delivered
RETURNING id

-- name: relay
-- Of a page of facts that are not relayed. A delivery is owed if it has no row and its message is lost, and if nobody delivers it right now (its lock is free).
-- A fact is relayed if no subscriber lacks its row after that. Facts that somebody holds are passed over.
-- Only what may change is locked: the other facts of the page wait for their workers, and a lock of each would be logged in each round.
WITH begun AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
), page AS MATERIALIZED (
    SELECT fact.id, fact.number, fact.type
    FROM begun, orders_fact AS fact
    WHERE fact.id = ANY(%(facts)s::uuid[]) AND fact.relayed_at IS NULL
        AND (fact.id = ANY(%(lost)s::uuid[]) OR NOT EXISTS (
            SELECT FROM sideeffects_subscriber AS subscriber WHERE {is_owed}
                AND NOT EXISTS (SELECT FROM sideeffects_delivery AS tried WHERE tried.event_id = fact.id AND tried.subscriber = subscriber.name)
        ))
    FOR NO KEY UPDATE OF fact SKIP LOCKED
), lacking AS MATERIALIZED (
    SELECT fact.id AS fact, subscriber.name AS subscriber,
        CASE WHEN fact.id = ANY(%(lost)s::uuid[])
            THEN pg_try_advisory_xact_lock(hashtextextended('delivery ' || fact.id || ' ' || subscriber.name, 0)) ELSE false END AS is_owed
    FROM page AS fact
    JOIN sideeffects_subscriber AS subscriber ON {is_owed}
    WHERE NOT EXISTS (SELECT FROM sideeffects_delivery AS tried WHERE tried.event_id = fact.id AND tried.subscriber = subscriber.name)
), owed AS (
    INSERT INTO sideeffects_delivery (event_id, subscriber, state, wake_at)
    SELECT fact, subscriber, 'pending', shop_now() FROM lacking WHERE is_owed
    ON CONFLICT (event_id, subscriber) DO NOTHING
)
UPDATE orders_fact AS fact SET relayed_at = shop_now()
FROM page
WHERE fact.id = page.id AND NOT EXISTS (SELECT FROM lacking WHERE lacking.fact = page.id AND NOT lacking.is_owed)
RETURNING fact.id

-- name: publish
-- Deliveries that the caller has locked get a message each, and what it says is returned.
UPDATE sideeffects_delivery AS delivery SET relaunches = relaunches + 1, launched_at = shop_now(), wake_at = NULL
FROM orders_fact AS fact JOIN orders_order AS bought ON bought.id = fact.order_id
WHERE delivery.id = ANY(%(deliveries)s::bigint[]) AND fact.id = delivery.event_id
RETURNING delivery.id, fact.id, delivery.subscriber, bought.number, delivery.relaunches + 1, fact.correlation_id

-- name: not_published
-- The broker did not take these messages: their deliveries are due again at once. One that was started since is left alone.
WITH begun AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
)
UPDATE sideeffects_delivery AS delivery SET relaunches = relaunches - 1, launched_at = NULL, wake_at = shop_now()
FROM begun, unnest(%(facts)s::uuid[], %(subscribers)s::text[]) AS message(fact, subscriber)
WHERE delivery.event_id = message.fact AND delivery.subscriber = message.subscriber AND delivery.state IN ('pending', 'retry_wait')
RETURNING delivery.id

-- name: anything_due
-- Whether a round of the relay would find something, each on an index of its own. Up to the marks everything was inspected.
SELECT EXISTS (SELECT FROM orders_fact WHERE number IS NULL AND at > %(numbered)s::timestamptz)
    OR EXISTS (SELECT FROM orders_fact WHERE number >= %(relayed)s AND relayed_at IS NULL)
    OR EXISTS (SELECT FROM sideeffects_delivery WHERE wake_at > %(due)s::timestamptz AND wake_at <= shop_now())
    OR EXISTS (SELECT FROM sideeffects_delivery WHERE launched_at IS NOT NULL)
    OR EXISTS (SELECT FROM sideeffects_circuit)
    OR EXISTS (SELECT FROM fulfillment_queueprobe WHERE awaited_since IS NOT NULL)
