"""A function of a module, or several, that is another one for a while."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from fulfillment.engine import hot_path
from fulfillment.named_statements import SQL


@contextmanager
def replacing(module: Any, **functions: Any) -> Iterator[None]:
    was = {name: vars(module)[name] for name in functions}
    vars(module).update(functions)
    try:
        yield
    finally:
        vars(module).update(was)


@contextmanager
def edited(statement: str, was: str, instead: str) -> Iterator[None]:
    """In the block, this text of a statement of the hot path is another one."""
    statements = vars(SQL)["_statements"]
    text = statements[statement]
    assert was in text, f"{statement} does not say {was!r}"
    statements[statement] = text.replace(was, instead)
    try:
        yield
    finally:
        statements[statement] = text


def without_the_hot_path() -> AbstractContextManager[None]:
    """In the block, every outcome is recorded by the readable code."""
    return replacing(hot_path, record_success=lambda claim, receipt: False)
