What placing an order costs while all goes well: its key is looked up, its products are read, and the order is written with its lines. orders/api/placing.py.

-- name: is_used
-- Asked for each order, and almost never true: the order itself is read only if it is.
SELECT EXISTS (SELECT FROM orders_order WHERE client_id = %(client)s AND idempotency_key = %(key)s)

-- name: offered
-- What is sold of these products, and whether the shop keeps stock of it.
SELECT product.sku, product.name, product.price_minor, {is_kept}
FROM orders_product AS product
WHERE product.is_active AND product.currency = %(currency)s AND product.sku = ANY(%(skus)s::text[])

-- name: place
-- The order with the next number, and its lines. No row: the shop takes no orders. Violates order_once_per_key: the same request was faster.
-- The lines come from the order's row, so that it is there before them: their trigger reads it.
WITH placed AS (
    INSERT INTO orders_order (
        number, reference, status, currency, total_minor, customer_email, customer_name, shipping_address, payment_token,
        client_id, idempotency_key, request_digest, digest, digest_version, correlation_id
    )
    SELECT
        {next_number}, %(reference)s, 'placed', %(currency)s, %(total_minor)s, %(email)s, %(name)s, %(address)s::jsonb, %(payment_token)s,
        %(client)s, %(key)s, %(request_digest)s, %(digest)s, %(digest_version)s, %(correlation_id)s
    WHERE NOT {are_not_taken}
    RETURNING *
), written AS (
    INSERT INTO orders_orderline (order_id, sku, name, quantity, unit_price_minor)
    SELECT placed.id, line.sku, line.name, line.quantity, line.price_minor
    FROM placed, unnest(%(skus)s::text[], %(names)s::text[], %(quantities)s::bigint[], %(prices_minor)s::bigint[])
        WITH ORDINALITY AS line(sku, name, quantity, price_minor, place)
    ORDER BY line.place
    RETURNING id
)
SELECT (SELECT array_agg(id ORDER BY id) FROM written), {order} FROM placed
