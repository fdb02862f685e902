"""What an order costs while much else is there: many finished orders, a long queue, an old snapshot, more workers; and how fast the loops work off what is due.

The shop's own processes run as among the peers (``tests.bench.peers.programs.ours``), on one database that grows from measurement to measurement: orders that they
have fulfilled are copied, as ``tests.scale`` copies them.
"""
