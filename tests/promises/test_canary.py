"""Promise: what a customer tells the shop, and what lets anybody in, stands in no log, message, page, process list or file that others can read.

Marked values (canaries) are planted in orders that succeed and that fail in several ways, and in the passwords of processes; then every place is searched.
"""

from collections.abc import Callable

import pytest

from tests.promises.canaries import Planted, by_hand, place_all_kinds, readable
from tests.promises.canary_places import (
    inspected,
    overheard,
    own_login,
    search_files,
    search_flower,
    search_logs,
    search_processes,
    search_the_broker,
)
from tests.promises.conftest import Shop


@pytest.fixture
def planted(shop: Shop) -> Planted:
    info, run_dir = shop.stack.info, shop.stack.run_dir
    planted = Planted()
    planted.plant("API token", info["token"])
    planted.plant("operator token", info["operator_token"])
    planted.plant("admin password", info["admin"]["password"])
    for what, name in (("mail password", "mail_password"), ("secret key", "secret_key"), ("Flower password", "flower_password")):
        if (run_dir / name).exists():
            planted.plant(what, (run_dir / name).read_text())
    return planted


def test_marked_values_are_found_nowhere(shop: Shop, planted: Planted, show_figure: Callable[[str], None]) -> None:
    """What I entrust to the shop is read by those who work on my order, and by nobody who merely has an account on its machine."""
    with by_hand(shop, planted) as flower, overheard(shop) as events:
        orders = place_all_kinds(shop, planted)

        search_flower(planted, shop.stack.info["flower"], orders, own_login(shop))
        search_flower(planted, flower, orders, ("canary", "canary-login"))
        planted.search("celery inspect", inspected(shop))
        search_processes(planted)
        search_the_broker(shop, planted)
        heard = events()
        assert b"task-succeeded" in readable(heard)
        planted.search("events", heard)
    search_logs(shop, planted)
    open_to_others = search_files(shop, planted)

    show_figure(f"canary: {planted.places} places searched, {len(planted.marks)} marks planted, {len(planted.found)} found")
    assert planted.places > 50
    assert len(planted.marks) >= 12
    assert (sorted(planted.found), open_to_others) == ([], [])
