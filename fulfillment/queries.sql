The hot path of the core: what happens to an order that meets no trouble, one statement for each transition. Run by fulfillment/engine/hot_path.py, `reserve` by
fulfillment/stock.py, `relaunch` by fulfillment/engine/lost_messages.py.

Each statement checks the fence, writes state and history and what is scheduled next, and returns what its caller needs. Outside of a transaction it is one, in one
round trip. The history of a transition is one row (orders/timeline.py, RowKind). Columns that are not named get the default of their model. Where anything is unusual (a cancel, a hold, trouble with our own database, a newer release, time past a lease) it changes nothing and returns no row, and
the transition is made by the readable code in Python. tests/fulfillment/test_hot_path.py proves that both write the same rows.

IS NOT DISTINCT FROM is used where = would do: a state that is compared so leads the planner to no index. One of all open sagas, or of all orders with this status,
seems small to it, and is long in a backlog.

Locks: the saga's row first, as everywhere, so that no two transitions can deadlock; stock levels last, sorted by SKU.
{order}: the columns of an order, and its lines.

-- name: open_saga
-- The saga, a record for each step of its plan, the first of them scheduled, their history, and the fact that the order is placed.
WITH saga AS (
    INSERT INTO fulfillment_saga (order_id, nonce, wake_at, launched_at, plan, release, deadline_at)
    VALUES (%(order)s, %(nonce)s, shop_now() + %(patience)s, shop_now(), %(plan)s, %(release)s, shop_now() + %(deadline)s)
    RETURNING id, order_id, epoch
), record AS (
    INSERT INTO fulfillment_steprecord (saga_id, position, name, do_key, state, scheduled_at)
    SELECT saga.id, step.number - 1, step.name, step.key, CASE step.number WHEN 1 THEN 'scheduled' ELSE 'pending' END, CASE step.number WHEN 1 THEN shop_now() END
    FROM saga, unnest(%(steps)s::text[], %(keys)s::text[]) WITH ORDINALITY AS step (name, key, number)
), history AS (
    INSERT INTO orders_history (order_id, kind, name, epoch, actor) SELECT saga.order_id, 'opened', (%(steps)s::text[])[1], saga.epoch, %(actor)s FROM saga
), fact AS (
    INSERT INTO orders_fact (id, order_id, type, version, correlation_id, payload, at)
    SELECT %(fact)s::uuid, saga.order_id, %(type)s, %(version)s, %(correlation_id)s, %(payload)s, shop_now() - %(earlier)s::interval
    FROM saga WHERE NOT EXISTS (SELECT FROM orders_fact AS known WHERE known.id = %(fact)s::uuid)
)
SELECT id FROM saga

-- name: start
-- If this epoch and direction still hold, it starts the scheduled step under a random claim, moves the saga's wake_at to the end of the lease, writes the history,
-- and moves a placed order to processing. No row, or a row without a record: the saga does not wait for this step. A row that is not served: this code does not
-- serve the step.
-- Before an open circuit nothing starts but the circuit's probe, which is then the probe until its lease ends.
-- The time for which the message waited in a long queue is given back to the saga, and to a step that was started before; the deadline of any other step begins
-- with its first start. A later attempt is told of the attempts before it. For how long the sweep has watched the clock, and until when, is told too; what it says of
-- an instant that is yet to come was written before the clock was set back.
-- No try that was started before can send anything later than a lease from now. An instant that says so was written by a clock that was ahead: it is moved to then.
-- It does not wait for the disk while the provider remembers the key, or where there is no provider. Otherwise, a start that is lost could become a second effect;
-- and the start of a probe distinguishes an order that was called from one that never was.
--
-- Note: the update is the lock. A SELECT … FOR UPDATE before it would log the lock of each row once more. So everything is read without a lock, as the statement's
-- snapshot has it (seen), and each UPDATE says again what must still hold. If another transition holds the saga, the UPDATE waits for it, and PostgreSQL compares
-- these conditions with the newest version of the saga (EvalPlanQual, READ COMMITTED): an epoch, state, cancel, hold or launch that has changed starts nothing. The
-- record must be the version that was seen (xmin). If the saga is as it was and its record is not, the division fails, and nothing is changed.
WITH seen AS MATERIALIZED (
    SELECT s.id, s.order_id, s.epoch, s.plan, s.launched_at, s.held_by, step.version, step.role, step.gateway,
        concat_ws('.', coalesce(step.version, '1'), step.role, step.gateway) = ANY(%(served)s::text[]) AS served,
        CASE WHEN s.held_by = '' AND shop_now() - s.launched_at > %(late_after)s THEN least(shop_now() - s.launched_at, %(most)s) ELSE interval '0' END AS lost,
        r.id AS record, r.xmin AS record_version,
        CASE WHEN said.until > latest.at THEN latest.at ELSE said.until END AS asked_until,
        CASE WHEN r.compensation_asked_until > latest.at THEN latest.at ELSE r.compensation_asked_until END AS compensation_asked_until,
        NOT %(compensating)s AND r.first_started_at IS NULL AS is_first, c.name AS circuit,
        c.state <> 'closed' OR c.failures <> '[]' AS troubled, c.probe = s.id AND c.probe_until > shop_now() AS is_probe,
        (s.held_by = '' AND coalesce(c.state, 'closed') = 'closed') OR (c.probe = s.id AND c.probe_until > shop_now()) AS may_call
    FROM fulfillment_saga AS s LEFT JOIN LATERAL (
        SELECT entry->>'version' AS version, entry->>'role' AS role, entry->>'gateway' AS gateway FROM jsonb_array_elements(s.plan) AS entry
        WHERE entry->>'name' = %(name)s LIMIT 1
    ) AS step ON true
        LEFT JOIN fulfillment_steprecord AS r ON r.saga_id = s.id AND r.name = %(name)s AND r.state = %(scheduled)s
        LEFT JOIN fulfillment_circuit AS c ON c.name = step.role || '.' || step.gateway || %(operation)s
        CROSS JOIN LATERAL (SELECT shop_now() + %(lease)s AS at) AS latest
        CROSS JOIN LATERAL (
            SELECT CASE WHEN %(compensating)s THEN coalesce(r.asked_until, r.compensation_scheduled_at + %(lease)s) ELSE r.asked_until END AS until
        ) AS said
    WHERE s.id = %(saga)s AND s.epoch = %(epoch)s AND s.state IS NOT DISTINCT FROM %(direction)s AND (%(compensating)s OR s.cancel_requested_at IS NULL)
), leased AS (
    UPDATE fulfillment_saga AS s SET wake_at = shop_now() + %(lease)s, left_since = NULL, deadline_at = s.deadline_at + seen.lost,
        paused_s = CASE WHEN seen.is_first THEN 0 ELSE s.paused_s + extract(epoch FROM seen.lost)::float END
    FROM seen
    WHERE s.id = seen.id AND seen.served AND seen.record IS NOT NULL AND seen.may_call
        AND s.epoch = %(epoch)s AND s.state IS NOT DISTINCT FROM %(direction)s AND (%(compensating)s OR s.cancel_requested_at IS NULL)
        AND s.held_by = seen.held_by AND s.launched_at IS NOT DISTINCT FROM seen.launched_at
    RETURNING s.id
), started AS (
    UPDATE fulfillment_steprecord AS r
    SET state = %(started)s, claim = %(claim)s, started_at = shop_now(),
        first_started_at = CASE WHEN %(compensating)s THEN r.first_started_at ELSE coalesce(r.first_started_at, shop_now()) END,
        asked_until = CASE WHEN %(compensating)s THEN seen.asked_until ELSE shop_now() + %(lease)s END,
        compensation_asked_until = CASE WHEN %(compensating)s THEN shop_now() + %(lease)s ELSE seen.compensation_asked_until END,
        tries = r.tries + CASE WHEN %(compensating)s THEN 0 ELSE 1 END, compensation_tries = r.compensation_tries + CASE WHEN %(compensating)s THEN 1 ELSE 0 END
    FROM seen, leased WHERE r.id = seen.record AND r.saga_id = leased.id AND r.xmin = seen.record_version
    RETURNING r.*
), probing AS (
    UPDATE fulfillment_circuit SET probe_until = shop_now() + %(lease)s WHERE name IN (SELECT circuit FROM seen JOIN started ON true WHERE is_probe)
), moved AS (
    UPDATE orders_order SET status = 'processing', updated_at = shop_now()
    WHERE status IS NOT DISTINCT FROM 'placed' AND id IN (SELECT order_id FROM seen JOIN started ON started.saga_id = seen.id)
    RETURNING id
), history AS (
    INSERT INTO orders_history (order_id, kind, name, from_state, to_state, epoch)
    SELECT seen.order_id, CASE WHEN moved.id IS NULL THEN 'step' ELSE 'begun' END, %(name)s, %(scheduled)s, %(started)s, seen.epoch
    FROM seen JOIN started ON started.saga_id = seen.id LEFT JOIN moved ON true
)
SELECT seen.served, started.id, seen.version, seen.role, seen.gateway, started.do_key, started.compensation_key, started.tries, started.compensation_tries,
    started.receipt::text, started.compensation_amount_minor, started.compensation_doubt,
    age.s, extract(epoch FROM shop_now() - seen.asked_until)::float,
    extract(epoch FROM shop_now() - CASE WHEN %(compensating)s THEN seen.compensation_asked_until END)::float,
    coalesce(seen.troubled, false), coalesce(seen.is_probe, false), shop_now(),
    CASE WHEN CASE WHEN %(compensating)s THEN started.compensation_attempt ELSE started.do_attempt END > 1 THEN (
        SELECT jsonb_build_object('keys', jsonb_agg(key ORDER BY attempt DESC), 'quiet_s', extract(epoch FROM shop_now() - max(p.asked_until)))::text
        FROM fulfillment_pastattempt AS p WHERE p.record_id = started.id AND p.compensating = %(compensating)s
    ) END,
    started.position + 1 = jsonb_array_length(seen.plan),
    CASE WHEN NOT coalesce(seen.is_probe, false) AND (coalesce(seen.role, '') = '' OR age.s < (%(remembered_s)s::jsonb->>(seen.role || '.' || seen.gateway))::float)
        THEN set_config('synchronous_commit', 'off', true) END AS may_be_lost,
    1 / CASE WHEN leased.id IS NULL OR started.id IS NOT NULL THEN 1 ELSE 0 END AS is_as_seen,
    extract(epoch FROM sweep.watched_until - sweep.watched_from)::float, extract(epoch FROM shop_now() - sweep.watched_until)::float,
    {order}
FROM seen JOIN orders_order AS o ON o.id = seen.order_id LEFT JOIN leased ON true LEFT JOIN started ON true
    LEFT JOIN fulfillment_sweepheartbeat AS sweep ON sweep.id = 1 AND sweep.watched_until <= shop_now()
    CROSS JOIN LATERAL (SELECT coalesce(extract(epoch FROM shop_now() - started.scheduled_at)::float, 0) AS s) AS age

-- name: begin_local
-- The saga and the record of a local step that is scheduled, locked until the caller's transaction ends.
SELECT step.version, r.do_key, r.tries, {order}
FROM fulfillment_saga AS s JOIN fulfillment_steprecord AS r ON r.saga_id = s.id JOIN orders_order AS o ON o.id = s.order_id
    CROSS JOIN LATERAL (
        SELECT coalesce(entry->>'version', '1')::int AS version FROM jsonb_array_elements(s.plan) AS entry WHERE entry->>'name' = %(name)s LIMIT 1
    ) AS step
WHERE s.id = %(saga)s AND s.epoch = %(epoch)s AND s.state IS NOT DISTINCT FROM 'running' AND s.cancel_requested_at IS NULL AND s.held_by = '' AND s.release <= %(release)s
    AND step.version = ANY(%(versions)s::int[]) AND shop_now() - s.launched_at <= %(late_after)s AND r.name = %(name)s AND r.state = 'scheduled' AND r.error_code <> 'own_database' AND o.status IS NOT DISTINCT FROM 'processing'
FOR UPDATE OF s, r

-- name: reserve
-- Pieces of every SKU are held for an order, or of none: then it returns the first SKU of which there are too few. Levels are locked sorted by SKU, so that no two
-- orders can deadlock.
WITH wanted AS (
    SELECT sku, quantity FROM unnest(%(skus)s::text[], %(quantities)s::int[]) AS wanted (sku, quantity)
), level AS (
    SELECT l.id, l.sku, wanted.quantity, l.on_hand - l.reserved >= wanted.quantity AS is_enough
    FROM fulfillment_stocklevel AS l JOIN wanted ON wanted.sku = l.sku ORDER BY l.sku FOR NO KEY UPDATE OF l
), short AS (
    SELECT wanted.sku FROM wanted LEFT JOIN level ON level.sku = wanted.sku WHERE level.is_enough IS NOT TRUE ORDER BY wanted.sku LIMIT 1
), taken AS (
    UPDATE fulfillment_stocklevel AS l SET reserved = l.reserved + level.quantity FROM level WHERE l.id = level.id AND NOT EXISTS (SELECT FROM short)
), held AS (
    INSERT INTO fulfillment_reservation (order_number, sku, quantity, state)
    SELECT %(order)s, sku, quantity, 'held' FROM wanted WHERE NOT EXISTS (SELECT FROM short) ORDER BY sku
    RETURNING id
)
SELECT (SELECT sku FROM short), ARRAY(SELECT id FROM held ORDER BY id)

-- name: succeed_and_schedule
-- A step has succeeded: its money is in the ledger, the fact is recorded if it has one, and the next step is scheduled. It was started under this claim; or it is
-- local, and was scheduled.
-- The division fails, and nothing is changed, if the records were not what the saga's own condition has just seen.
WITH mine AS (
    UPDATE fulfillment_saga AS s SET relaunches = 0, wake_at = shop_now() + %(patience)s, launched_at = shop_now(), left_since = NULL, paused_s = 0
    FROM fulfillment_steprecord AS r JOIN fulfillment_steprecord AS f ON f.saga_id = r.saga_id AND f.position = r.position + 1
    WHERE s.id = %(saga)s AND s.epoch = %(epoch)s AND s.state IS NOT DISTINCT FROM 'running' AND s.cancel_requested_at IS NULL AND s.held_by = '' AND s.release <= %(release)s
        AND shop_now() - s.wake_at <= %(late_after)s
        AND r.saga_id = s.id AND r.name = %(name)s AND r.state = %(was)s AND r.claim IS NOT DISTINCT FROM %(claim)s AND r.error_code <> 'own_database'
        AND f.state = 'pending'
    RETURNING s.id, s.order_id, s.epoch, r.id AS record, f.id AS next
), done AS (
    UPDATE fulfillment_steprecord AS r
    SET state = 'succeeded', tries = %(tries)s, waits = 0, claim = NULL, outcome_at = shop_now(), receipt = %(receipt)s, error_code = '', error_message = ''
    FROM mine WHERE r.id = mine.record AND r.state = %(was)s AND r.claim IS NOT DISTINCT FROM %(claim)s
    RETURNING r.do_key
), next AS (
    UPDATE fulfillment_steprecord AS r SET state = 'scheduled', scheduled_at = shop_now() FROM mine WHERE r.id = mine.next AND r.state = 'pending'
    RETURNING r.name
), captured AS (
    INSERT INTO fulfillment_ledgerentry (order_id, step, operation, key, amount_minor)
    SELECT mine.order_id, %(name)s, 'captured', done.do_key, %(amount)s::bigint FROM mine, done
    WHERE %(amount)s::bigint > 0 AND NOT EXISTS (SELECT FROM fulfillment_ledgerentry AS known WHERE known.key = done.do_key)
), history AS (
    INSERT INTO orders_history (order_id, kind, name, from_state, epoch, code) SELECT mine.order_id, 'handed_on', %(name)s, %(was)s, mine.epoch, next.name FROM mine, next
), step_fact AS (
    INSERT INTO orders_fact (id, order_id, type, version, correlation_id, payload, at)
    SELECT %(step_fact)s::uuid, mine.order_id, %(step_type)s, %(step_version)s, %(correlation_id)s, %(step_payload)s, shop_now() - %(step_earlier)s::interval
    FROM mine WHERE %(step_fact)s::uuid IS NOT NULL AND NOT EXISTS (SELECT FROM orders_fact AS known WHERE known.id = %(step_fact)s::uuid)
)
SELECT 1 / ((SELECT count(*) FROM done) * (SELECT count(*) FROM next)) FROM mine

-- name: succeed_and_complete
-- The last step has succeeded: the order is fulfilled, the stock has left, and both facts are recorded. The division: as in succeed_and_schedule.
WITH mine AS (
    UPDATE fulfillment_saga AS s SET state = 'completed', wake_at = NULL, due_from = NULL, closed_at = shop_now(), relaunches = 0, left_since = NULL
    FROM fulfillment_steprecord AS r
    WHERE s.id = %(saga)s AND s.epoch = %(epoch)s AND s.state IS NOT DISTINCT FROM 'running' AND s.cancel_requested_at IS NULL AND s.held_by = '' AND s.release <= %(release)s
        AND shop_now() - s.wake_at <= %(late_after)s
        AND r.saga_id = s.id AND r.name = %(name)s AND r.state = 'started' AND r.claim = %(claim)s AND r.error_code <> 'own_database'
        AND (SELECT count(*) = jsonb_array_length(s.plan) AND bool_and(other.id = r.id OR other.state IN ('succeeded', 'done_by_hand', 'skipped'))
            FROM fulfillment_steprecord AS other WHERE other.saga_id = s.id)
    RETURNING s.id, s.order_id, s.epoch, r.id AS record
), done AS (
    UPDATE fulfillment_steprecord AS r
    SET state = 'succeeded', tries = %(tries)s, waits = 0, claim = NULL, outcome_at = shop_now(), receipt = %(receipt)s, error_code = '', error_message = ''
    FROM mine WHERE r.id = mine.record AND r.state = 'started' AND r.claim = %(claim)s
    RETURNING r.do_key
), fulfilled AS (
    UPDATE orders_order AS o
    SET status = 'fulfilled', finished_at = shop_now(), updated_at = shop_now(), ended_as = 'fulfilled', settled_at = shop_now()
    FROM mine, done WHERE o.id = mine.order_id AND o.status IS NOT DISTINCT FROM 'processing'
    RETURNING o.id, o.number
), captured AS (
    INSERT INTO fulfillment_ledgerentry (order_id, step, operation, key, amount_minor)
    SELECT mine.order_id, %(name)s, 'captured', done.do_key, %(amount)s::bigint FROM mine, done
    WHERE %(amount)s::bigint > 0 AND NOT EXISTS (SELECT FROM fulfillment_ledgerentry AS known WHERE known.key = done.do_key)
), taken AS (
    UPDATE fulfillment_reservation AS held SET state = 'consumed' FROM fulfilled WHERE held.order_number = fulfilled.number AND held.state = 'held'
    RETURNING held.sku, held.quantity
), level AS (
    SELECT l.id, taken.quantity FROM fulfillment_stocklevel AS l JOIN taken ON taken.sku = l.sku ORDER BY l.sku FOR NO KEY UPDATE OF l
), consumed AS (
    UPDATE fulfillment_stocklevel AS l SET reserved = l.reserved - level.quantity, on_hand = l.on_hand - level.quantity FROM level WHERE l.id = level.id
), said AS (
    SELECT to_char(shop_now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS today, coalesce(%(receipt)s::jsonb->>'tracking', (
        SELECT r.receipt->>'tracking' FROM fulfillment_steprecord AS r WHERE r.saga_id = %(saga)s AND r.receipt ? 'tracking' ORDER BY r.position DESC LIMIT 1
    ), '') AS tracking
), fact AS (
    INSERT INTO orders_fact (id, order_id, type, version, correlation_id, payload, at)
    SELECT %(fact)s::uuid, fulfilled.id, %(type)s, %(version)s, %(correlation_id)s,
        %(payload)s::jsonb || jsonb_build_object('tracking', said.tracking, 'fulfilled_on', said.today), shop_now() - %(earlier)s::interval
    FROM fulfilled, said WHERE NOT EXISTS (SELECT FROM orders_fact AS known WHERE known.id = %(fact)s::uuid)
), step_fact AS (
    INSERT INTO orders_fact (id, order_id, type, version, correlation_id, payload, at)
    SELECT %(step_fact)s::uuid, fulfilled.id, %(step_type)s, %(step_version)s, %(correlation_id)s, %(step_payload)s, shop_now() - %(step_earlier)s::interval
    FROM fulfilled WHERE %(step_fact)s::uuid IS NOT NULL AND NOT EXISTS (SELECT FROM orders_fact AS known WHERE known.id = %(step_fact)s::uuid)
), history AS (
    INSERT INTO orders_history (order_id, kind, name, epoch) SELECT mine.order_id, 'fulfilled', %(name)s, mine.epoch FROM mine
)
SELECT said.tracking, said.today, 1 / ((SELECT count(*) FROM done) * (SELECT count(*) FROM fulfilled)) FROM mine, said

-- name: lock_lost
-- Of a page of sagas, those whose first message may be lost, locked until the caller's transaction ends. Who is held by somebody else is passed.
-- ``relaunch`` reads them afterwards, under the lock: what has changed meanwhile it sees.
SELECT id FROM fulfillment_saga
WHERE id = ANY(%(sagas)s::bigint[]) AND wake_at <= shop_now() AND (launched_at IS NULL OR launched_at < %(lost_before)s::timestamptz)
    AND state IS NOT DISTINCT FROM 'running' AND failure = '' AND cancel_requested_at IS NULL AND held_by = '' AND left_since IS NULL AND release <= %(release)s
    AND relaunches < %(plain)s
ORDER BY id FOR UPDATE SKIP LOCKED

-- name: relaunch
-- Of sagas that the caller has locked: a step is scheduled and was never started, and its message is lost. It goes out again, under the same epoch.
-- walk: what is left to do, as the records say. All of it but the first must still be pending. pinned: the plan's entries, of which this code must serve each.
-- What is damaged fits into none of these conditions, and breaks the statement for nobody.
-- The time since the message was published, if it is long, is given back before the deadline is judged.
WITH plain AS MATERIALIZED (
    SELECT s.id, s.order_id, s.epoch, s.relaunches + 1 AS relaunches, s.launched_at IS NOT NULL AS was_published, walk.names, lost.time AS lost,
        o.number, o.correlation_id
    FROM fulfillment_saga AS s JOIN orders_order AS o ON o.id = s.order_id
        CROSS JOIN LATERAL (
            SELECT array_agg(r.name::text ORDER BY r.position) AS names, array_agg(r.state::text ORDER BY r.position) AS states,
                (array_agg(r.tries ORDER BY r.position))[1] AS tries, bool_or(r.error_code = 'own_database') AS is_put_off
            FROM fulfillment_steprecord AS r WHERE r.saga_id = s.id AND r.state NOT IN ('succeeded', 'done_by_hand', 'skipped')
        ) AS walk
        CROSS JOIN LATERAL (
            SELECT array_agg(entry->>'name') AS names, bool_and(most.tries IS NOT NULL) AS is_served,
                min(most.tries) FILTER (WHERE entry->>'name' = walk.names[1]) AS tries,
                min(concat_ws('.', entry->>'role', entry->>'gateway', %(operation)s::text)) FILTER (WHERE entry->>'name' = walk.names[1]) AS circuit
            FROM jsonb_array_elements(CASE jsonb_typeof(s.plan) WHEN 'array' THEN s.plan END) AS entry CROSS JOIN LATERAL (
                SELECT (%(served)s::jsonb->>(
                    (entry->>'name') || '.' || coalesce(entry->>'version', '1') || '.' || (entry->>'role') || '.' || (entry->>'gateway')
                ))::int AS tries
            ) AS most
        ) AS pinned
        CROSS JOIN LATERAL (SELECT shop_now() - coalesce(s.launched_at, s.wake_at) AS time) AS waited
        CROSS JOIN LATERAL (SELECT CASE WHEN waited.time > %(late_after)s THEN least(waited.time, %(most)s) ELSE interval '0' END AS time) AS lost
    WHERE s.id = ANY(%(sagas)s::bigint[]) AND walk.states[1] = 'scheduled' AND 'pending' = ALL(walk.states[2:]) AND NOT walk.is_put_off
        AND pinned.is_served AND walk.names <@ pinned.names AND walk.tries < pinned.tries
        AND (s.deadline_at IS NULL OR shop_now() <= s.deadline_at + lost.time)
        AND NOT EXISTS (SELECT FROM fulfillment_circuit AS c WHERE c.name = pinned.circuit AND c.state <> 'closed')
), again AS (
    UPDATE fulfillment_saga AS s SET relaunches = plain.relaunches, launched_at = shop_now(), wake_at = patience.until, due_from = patience.until,
        deadline_at = s.deadline_at + plain.lost, paused_s = s.paused_s + extract(epoch FROM plain.lost)::float
    FROM plain CROSS JOIN LATERAL (
        SELECT shop_now() + least(%(patience_s)s::float * 2 ^ least(plain.relaunches, 16), %(cap_s)s::float) * interval '1 second' AS until
    ) AS patience
    WHERE s.id = plain.id
), history AS (
    INSERT INTO orders_history (order_id, kind, name, epoch) SELECT order_id, 'relaunch', names[1], epoch FROM plain WHERE was_published
)
SELECT id, epoch, number, names, correlation_id, was_published::int + (
    SELECT count(*) FROM orders_history AS h WHERE h.order_id = plain.order_id AND h.kind = 'relaunch' AND h.epoch = plain.epoch
) FROM plain ORDER BY id

-- name: wake_lost
-- Those that were put off as waiting in their queue, and whose message has been proved lost since, are due now. Read from the index of what is due.
UPDATE fulfillment_saga AS s SET wake_at = shop_now(), due_from = shop_now()
WHERE s.id IN (
    SELECT lost.id FROM fulfillment_saga AS lost
    WHERE lost.due_from > shop_now() AND lost.wake_at > shop_now() AND lost.launched_at < %(lost_before)s::timestamptz
        AND lost.launched_at + least(%(patience_s)s::float * 2 ^ least(lost.relaunches, 16), %(cap_s)s::float) * interval '1 second' <= shop_now()
        AND lost.state IS NOT DISTINCT FROM %(state)s::text AND (lost.failure <> '') = %(failed)s::bool
        AND lost.held_by = '' AND lost.left_since IS NULL AND lost.release <= %(release)s
        AND EXISTS (SELECT FROM fulfillment_steprecord AS r WHERE r.saga_id = lost.id AND r.state = %(scheduled)s::text)
    ORDER BY lost.due_from LIMIT %(most)s::int FOR UPDATE SKIP LOCKED
)
RETURNING s.id

-- name: anything_due
-- Whether a round of the sweep would find something, each on an index of its own. Up to ``since`` everything was inspected.
SELECT EXISTS (SELECT FROM fulfillment_saga WHERE due_from > %(since)s::timestamptz AND due_from <= shop_now())
    OR EXISTS (SELECT FROM fulfillment_saga WHERE due_from > shop_now() + %(furthest)s)
    OR EXISTS (SELECT FROM fulfillment_quarantine WHERE inspect_at <= shop_now() OR inspect_at > shop_now() + %(furthest)s)
    OR EXISTS (SELECT FROM fulfillment_circuit WHERE state <> 'closed' OR wakes)
    OR EXISTS (SELECT FROM fulfillment_retrybatch WHERE confirmed_at IS NOT NULL AND ended_at IS NULL)
    OR EXISTS (SELECT FROM fulfillment_queueprobe WHERE awaited_since IS NOT NULL)
