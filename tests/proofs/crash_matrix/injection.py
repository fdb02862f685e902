"""Fault injection for one case: the files that arm its crash point and its faults, and what they say of what was met."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from tests.proofs.crash_matrix.cases import Case
from tests.proofs.crash_matrix.proxy import FAULTS as PROXIED
from tests.proofs.crash_matrix.script import Script
from tests.proofs.crash_matrix.stack import CRASH, FAULTS


class Injection:
    """Of the crash points and of the fault proxy, by order number: ``arm`` and ``disarm``; ``hit`` and ``notes`` say who has met what."""

    def __init__(self, case: Case, script: Script, run_dir: Path) -> None:
        self.case = case
        self.script = script
        self.crash, self.faults = run_dir / CRASH, run_dir / FAULTS
        self.armed: list[Path] = []

    def arm(self, number: str) -> None:
        for point, action in self.script.provokes:
            self._write(self.crash / f"{point}.{number}", action)
        for name, times in self._holds(number).items():
            self._write(self.faults / name, str(times))
        if self.case.fault in PROXIED:
            self._write(self._fault_file(number), "")
        self._write(self.crash / self.case.crash_file(number), self.case.action)

    def _holds(self, number: str) -> dict[str, int]:
        return {f"{fault}.{number}.{step}.{direction}": times for fault, step, direction, times in self.script.holds}

    def _write(self, file: Path, text: str) -> None:
        file.write_text(text)
        self.armed.append(file)

    def _fault_file(self, number: str) -> Path:
        return self.faults / f"{self.case.fault}.{number}.{self.case.step}.{self.case.direction}"

    # --- what was met ---

    def hit(self, number: str) -> int | None:
        """The pid of whoever reached the boundary."""
        with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
            return int(self.hit_file(number).read_text().split()[0])
        return None

    def hit_file(self, number: str) -> Path:
        return self.crash / f"{self.case.crash_file(number)}.hit"

    def is_still_to_land(self, number: str) -> bool:
        """A request that the proxy holds back."""
        hits = self.faults.glob(f"late_landing.{number}.*.hit")
        return any(text.count("struck") > text.count("landed") for text in (file.read_text() for file in hits))

    def notes(self, number: str) -> list[str]:
        """The proxy's, of the case's own fault."""
        file = self._fault_file(number)
        hits = file.with_name(f"{file.name}.hit")
        return hits.read_text().splitlines() if hits.exists() else []

    # --- disarming ---

    def answers_come_through(self, number: str) -> None:
        """Nothing holds them back any more."""
        _remove(self.faults / hold for hold in self._holds(number))

    def keep_only(self, order: str) -> None:
        """What is armed for other orders is disarmed."""
        own = [file for file in self.armed if order in file.name.split(".")]
        _remove(file for file in self.armed if file not in own)
        self.armed = own

    def disarm(self) -> None:
        """Another order may get the number that an opening has not used."""
        _remove(self.armed)


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
