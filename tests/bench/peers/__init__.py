"""The shop beside others that do the same work: the same orders, on the same PostgreSQL and Valkey, both durable, with two workers.

The work of one order (``programs.work``, ``programs/schema.sql``): an order of two lines is written; payment, inventory and shipping follow one another, each with a
call to a provider that answers at once, in the same process; then the order is fulfilled, and four side effects of one statement each follow, independent of each
other. Every run is judged by the rows that it has left: one payment, one shipment and four effects for each order, and the stock that was sold.
"""
