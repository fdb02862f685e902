"""Are the database's sessions back where they were? A fault that leaves one behind each time ends the shop some day."""

import time
from collections import Counter

import psutil

from tests.proofs.black_box.shop import WORKER
from tests.proofs.storms.storm import Storm

BACK_WITHIN_S = 20.0
STANDS_AFTER_S = 5.0
LOOPS = {"sweep": 1, "relay": 2}  # sessions of each process: the relay sends the events to the bus on one of its own
PROBES = 2  # sessions of a web process beside its threads': what answers /readyz and /status
OF_COMMANDS = 1  # a reconciliation that the sweep has started

OPEN = """
SELECT regexp_replace(application_name, '-r[0-9]+$', ''), count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 1
"""
LEFT = f"""
SELECT (SELECT count(*) FROM pg_locks WHERE NOT granted),
    (SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%' AND state_change < clock_timestamp() - interval '{STANDS_AFTER_S} s'),
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state = 'active'
        AND query_start < clock_timestamp() - interval '{STANDS_AFTER_S} s')
"""
NOT_LEFT = ("locks are waited for", "sessions stand still in a transaction", "statements do not end")


def sessions_are_back(storm: Storm) -> None:
    """No kind of process has more of them than it may open, no lock is waited for, and nobody stands still in a transaction or a statement."""
    deadline = time.monotonic() + BACK_WITHIN_S
    too_many, left = _too_many(storm), _left(storm)
    while (too_many or any(left)) and time.monotonic() < deadline:  # deliveries that are made right now wait for each other, briefly
        time.sleep(0.5)
        too_many, left = _too_many(storm), _left(storm)
    storm.counts |= {
        "database sessions": f"{sum(_open(storm).values())} of {sum(_allowed(storm).values())}",
        "locks not granted": left[0],
    }
    for breach in too_many:
        storm.expect(False, breach)
    for count, what in zip(left, NOT_LEFT, strict=True):
        storm.expect(count == 0, f"{count} {what}")


def _left(storm: Storm) -> tuple[int, ...]:
    return tuple(int(count) for count in storm.shop.sql(LEFT)[0])


def _open(storm: Storm) -> dict[str, int]:
    return dict(storm.shop.sql(OPEN))


def _too_many(storm: Storm) -> list[str]:
    allowed = _allowed(storm)
    return [
        f"{count} sessions of {name or 'nobody that we know'} are open, of {allowed[name]}"
        for name, count in _open(storm).items()
        if count > allowed[name]
    ]


def _allowed(storm: Storm) -> Counter[str]:
    """By the name that a session gives itself, whatever its release: of each process that lives. One that serves requests may have as many as it has threads."""
    allowed = Counter({"shop-command": OF_COMMANDS})
    for role, pids in storm.stack.info["processes"].items():
        for pid in pids:
            try:
                words, children = psutil.Process(pid).cmdline(), len(storm.shop.children_of(role))
            except psutil.NoSuchProcess:  # it is being started again: asked once more soon
                continue
            if "gunicorn" in words:
                allowed["shop-web"] += children * (int(words[words.index("--threads") + 1]) + PROBES)
            elif WORKER in words:
                allowed["shop-worker"] += children + 1
            for loop, sessions in LOOPS.items():
                allowed[f"shop-{loop}"] += sessions * (loop in words)
    return allowed
