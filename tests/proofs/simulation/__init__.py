"""The simulation (``manage.py simulate``): deterministic simulation testing of the real engine on the real database, in a world that loses, doubles, delays, kills
and lies, as one seed decides.

``threads`` lets workers run one at a time, from boundary to boundary; ``broker`` and ``provider`` are the world outside; ``clocks`` sets the database's clock;
``journal`` reads what is durable and puts an earlier version back; ``simulator`` runs one ``history`` after the other, and ``moves`` are what may happen in it;
``observation`` sees each change, ``invariants`` says what must hold, and tests/proofs/model which change is legal. ``scripted_cases`` are histories that are known
to hurt; ``mutations`` breaks the engine on purpose (mutation testing).
"""
