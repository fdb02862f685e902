"""The profiles: one sandbox plays several providers that promise different things about keys, each under a path of its own."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Profile:
    """``name``: keys are scoped by it, and the path begins with it; the plain provider has none.

    ``has_keys``: one key has one effect and one answer; without, the key is but the client's reference.
    ``keeps_rejections``: a rejection is remembered under its key. ``tombstones``: cancel by key, which refuses that key for good.
    """

    name: str
    has_keys: bool = True
    keeps_rejections: bool = True
    tombstones: bool = True

    @property
    def prefix(self) -> str:
        return f"/{self.name}" if self.name else ""


PROFILES = (
    Profile(name=""),
    Profile(name="forgetful", keeps_rejections=False),
    Profile(name="burn", tombstones=False),
    Profile(name="watch", keeps_rejections=False, tombstones=False),
    Profile(name="keyless", has_keys=False, keeps_rejections=False, tombstones=False),
)
