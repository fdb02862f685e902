"""Promise: a stack that starts on a prepared database starts on one that is migrated, and as empty as its own would be."""

from pathlib import Path

import psycopg
import pytest

from config.stack import embedded
from tests.engines import ROOT
from tests.proofs import prepared


def test_what_is_laid_is_migrated_and_empty(tmp_path: Path) -> None:
    """Two storms that begin at the same place do not meet."""
    for name in ("one", "other"):
        prepared.lay(tmp_path / name)
    try:
        with psycopg.connect(embedded.start_postgres(tmp_path / "one")) as connection:
            applied = connection.execute("SELECT name FROM django_migrations WHERE app IN ('orders', 'fulfillment')").fetchall()
            placed = connection.execute("SELECT count(*) FROM orders_order").fetchone()
    finally:
        embedded.stop_postgres(tmp_path / "one")

    files = [file.stem for owner in ("orders", "fulfillment") for file in (ROOT / owner / "migrations").glob("0*.py")]
    assert sorted(name for (name,) in applied) == sorted(files)
    assert placed == (0,)
    assert (tmp_path / "other" / "postgres" / "PG_VERSION").exists()


def test_a_database_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()

    prepared.lay(tmp_path)

    assert list(tmp_path.iterdir()) == [tmp_path / "postgres"]
    assert list((tmp_path / "postgres").iterdir()) == []


def test_it_is_made_once_for_each_state_of_the_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that was changed while it was written is not taken for the one that is there."""
    made: list[str] = []
    monkeypatch.setattr(prepared, "PREPARED", tmp_path / "prepared")
    monkeypatch.setattr(prepared, "migrate", lambda database, folder: made.append(database))
    for run_dir in ("a", "b"):
        prepared.lay(tmp_path / run_dir)
    assert len(made) == 1

    monkeypatch.setattr(prepared, "state", lambda: "another")
    prepared.lay(tmp_path / "c")

    assert len(made) == 2
    assert [folder.name for folder in (tmp_path / "prepared").iterdir()] == ["another"]
