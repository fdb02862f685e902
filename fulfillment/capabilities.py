"""Capabilities: what a provider promises about keys and look-ups. Wherever an answer is missing, the engine goes by them and by nothing else."""

import enum
from dataclasses import dataclass


class Blind(enum.Enum):
    """How an effect that perhaps exists is compensated without a receipt (docs/semantics.md, doubt)."""

    TOMBSTONE = "tombstone"  # cancel by key: the provider then accepts nothing under the key any more
    BURN = "burn"  # look up; if nothing is there, do it under the same key, and compensate that
    WATCH = "watch"  # look up until nothing can land any more; if nothing came, a person is notified


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What one provider promises. ``key_window_s``: seconds for which it remembers an idempotency key. 0: it knows no keys.

    ``keeps_rejections``: it remembers a rejection under its key. ``tombstone``: it can cancel by key, for good.
    ``lookup_lag_s``: seconds after which a look-up by key shows whatever was sent, or never will.
    """

    key_window_s: float
    keeps_rejections: bool
    tombstone: bool
    lookup_lag_s: float

    @property
    def has_keys(self) -> bool:
        return self.key_window_s > 0

    @property
    def blind(self) -> Blind:
        if self.tombstone:
            return Blind.TOMBSTONE
        return Blind.BURN if self.has_keys and self.keeps_rejections else Blind.WATCH

    @property
    def rejection_ends_doubt(self) -> bool:
        """A rejection says that nothing exists. Without keys too: only one try can be under way there (docs/design.md, providers without keys)."""
        return self.keeps_rejections or not self.has_keys
