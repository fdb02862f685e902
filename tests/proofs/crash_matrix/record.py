"""What was proven: one line a case in ``cases.jsonl``, each stamped with the code that it was proven on, so that a run can be resumed."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.proofs.crash_matrix.cases import Case
from tests.proofs.crash_matrix.outcome import Outcome

PACKAGES = ("config", "orders", "fulfillment", "sideeffects", "tests/proofs")


def fingerprint(folder: Path) -> str:
    """Of every source file of the product and the proofs: the same commit and the same changes on top of it, with or without git."""
    digest = hashlib.sha256()
    for file in sorted(file for package in PACKAGES for file in (folder / package).rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def as_line(outcome: Outcome) -> dict[str, Any]:
    """``case`` by its name."""
    line = dataclasses.asdict(outcome) | {"case": outcome.case.name, "ok": outcome.ok, "reasons": list(outcome.reasons)}
    return dict(line)


class Record:
    """``stamp`` says on what it was proven: the code, and the broker."""

    def __init__(self, file: Path, stamp: str) -> None:
        self.file = file
        self.stamp = stamp

    def begin(self, resume: bool) -> None:
        if not resume:
            self.file.unlink(missing_ok=True)

    def add(self, outcome: Outcome) -> None:
        with self.file.open("a") as lines:
            lines.write(json.dumps(as_line(outcome) | {"stamp": self.stamp}) + "\n")

    def proven(self, cases: Iterable[Case]) -> dict[str, Outcome]:
        """The cases of this selection that held on the same code and broker."""
        wanted = {case.name: case for case in cases}
        return {
            line["case"]: _outcome(wanted[line["case"]], line)
            for line in self._lines()
            if line.get("stamp") == self.stamp and line.get("ok") and line["case"] in wanted
        }

    def _lines(self) -> list[dict[str, Any]]:
        """A last line that was cut short proves nothing."""
        found = []
        for line in self.file.read_text().splitlines() if self.file.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found


def _outcome(case: Case, line: dict[str, Any]) -> Outcome:
    kept = {name: line[name] for name in ("order", "ended", "seconds", "injected", "happened")}
    return Outcome(case=case, reasons=(), **kept)
