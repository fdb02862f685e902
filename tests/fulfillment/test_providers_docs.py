"""What is written about providers is whole: every provider, magic value and lever of the control stands in docs/providers.md."""

from pathlib import Path

import pytest

from fulfillment.gateways import ROLES
from fulfillment.sandbox.idempotency import Area
from fulfillment.sandbox.magic import POSTAL_CODES, TOKENS
from fulfillment.sandbox.profile import PROFILES

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "providers.md").read_text()
WORDS = [*ROLES["payments"].providers, *TOKENS, *POSTAL_CODES, *Area]


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_explained(word: str) -> None:
    """A value that nobody can look up might as well not be there."""
    assert f"`{word}`" in DOCS


def test_every_profile_has_its_row_and_its_gateways() -> None:
    """What the sandbox plays is what the shop can choose, for both roles."""
    names = [f"sandbox_{profile.name}".rstrip("_") for profile in PROFILES]

    assert [list(role.providers) for role in ROLES.values()] == [names, names]
    for name, profile in zip(names, PROFILES, strict=True):
        assert f"| `{name}` | `{profile.prefix}/v1` |" in DOCS
