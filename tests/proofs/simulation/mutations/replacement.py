"""A function of a module, or several, that is another one for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replacing(module: Any, **functions: Any) -> Iterator[None]:
    was = {name: vars(module)[name] for name in functions}
    vars(module).update(functions)
    try:
        yield
    finally:
        vars(module).update(was)
