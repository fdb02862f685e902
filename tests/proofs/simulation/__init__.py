"""The simulation: the real engine on the real database, in a world that loses, doubles, delays, kills and lies, as one seed decides.

``threads`` lets workers run one at a time, from boundary to boundary; ``broker`` and ``provider`` are the world outside; ``clocks`` sets the database's clock;
``journal`` reads what is durable and puts an earlier version back; ``history`` is one seed's run; ``judge`` says what must hold, and tests/proofs/model which change is
legal; ``sabotage`` breaks the engine on purpose.
"""
