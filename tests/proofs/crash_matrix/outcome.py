"""What became of a case."""

from dataclasses import dataclass

from tests.proofs.crash_matrix.cases import Case


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a case. ``reasons`` is empty where it held; ``happened`` False: its crash or its fault was never met, so it proves nothing."""

    case: Case
    order: str
    ended: str
    seconds: float
    injected: int
    happened: bool
    reasons: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.happened and not self.reasons
