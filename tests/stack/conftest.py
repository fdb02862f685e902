"""Here processes are started as an operator starts them: what is tested is how they start and end."""

from collections.abc import Iterator

import pytest

from tests.proofs import forkserver


@pytest.fixture(autouse=True, scope="module")
def nothing_is_forked() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(forkserver.SOCKET, raising=False)
        yield
