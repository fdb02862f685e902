"""Does every process of the pools still work? One that lives, takes tasks and refuses them all looks like any other from outside."""

import re

from tests.proofs.storms.storm import Storm

WITHIN_S = 60.0
DONE = re.compile(r"celery\.app\.trace\[(\d+)\] Task \S+ succeeded")


def every_pool_process_works(storm: Storm) -> None:
    """Orders are placed until each pool process that lives has finished a task; a breach, if one does not."""
    logs = {role: storm.run_dir / "log" / f"{role}.log" for role in storm.shop.workers()}
    begins = {role: log.stat().st_size for role, log in logs.items()}

    def living() -> set[int]:
        return {pid for role in logs for pid in storm.shop.children_of(role)}

    def at_work() -> set[int]:
        finished: set[int] = set()
        for role, log in logs.items():
            with log.open("rb") as file:
                file.seek(begins[role])
                finished |= {int(pid) for pid in DONE.findall(file.read().decode(errors="replace"))}
        return finished & living()

    placed: list[str] = []

    def so_many() -> int:
        placed.extend(storm.place(4))
        return len(at_work())

    storm.until("pool processes that work", so_many, len(living()), WITHIN_S)
    storm.counts["pool processes that work"] = f"{len(at_work())} of {len(living())}"
    if not storm.scenario.lies:  # where a backlog was forged, they wait behind it
        storm.rest(WITHIN_S, placed)
