"""The mails that have arrived at customers."""

import re

from tests.proofs.storms.storm import Storm


def mails_of(storm: Storm) -> list[str]:
    """The order of each mail that has arrived at its customer."""
    texts = [file.read_text(errors="replace") for file in (storm.run_dir / "mail").glob("*.eml")]
    return [found.group() for text in texts if (found := re.search(r"ORD-\w+", text))]
