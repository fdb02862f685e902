"""The capability card: what a provider promises about keys and look-ups. The engine obeys it wherever an answer is missing."""

import enum
from dataclasses import dataclass


class Blind(enum.Enum):
    """How an effect that perhaps exists is undone without a receipt (docs/semantics.md, doubt)."""

    TOMBSTONE = "tombstone"  # cancel by key: the provider closes the door behind it
    BURN = "burn"  # look up; if nothing is there, do it under the same key and undo that
    WATCH = "watch"  # look up until it can no longer land; if nothing came, a person is told


@dataclass(frozen=True, kw_only=True)
class Card:
    """``key_window_s``: seconds for which an idempotency key is remembered; 0: the provider knows no keys.

    ``keeps_rejections``: a rejection is remembered under its key. ``tombstone``: it can cancel by key, for good.
    ``lookup_lag_s``: seconds after which whatever was sent shows up in a look-up by key, or never will.
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
        """Without keys only one try can be under way (docs/design.md, providers without keys), so its rejection is the last word."""
        return self.keeps_rejections or not self.has_keys
