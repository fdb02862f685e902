"""Task messages: which arguments a task of the core takes. A message that is malformed, or is nobody's, is refused before anything is read."""

from typing import Any

MESSAGE: dict[str, type] = {"saga": int, "epoch": int, "order": str}


def malformed(unnamed: tuple[Any, ...], message: dict[str, Any], expected: dict[str, type] = MESSAGE) -> str:
    """What is wrong with a task message. Empty: nothing."""
    if unnamed:
        return f"its arguments must be named: {', '.join(expected)}"
    wrong = [f"{name} is missing or is no {kind.__name__}" for name, kind in expected.items() if type(message.get(name)) is not kind]
    return "; ".join(wrong + [f"{name} is not known" for name in sorted(set(message) - set(expected))])


def named_arguments(message: Any) -> dict[str, Any] | None:
    """The keyword arguments of a message that Celery has not handled. None: it has none that can be read."""
    try:
        _, named, _ = message.decode()
    except Exception:  # whatever it holds: Celery has rejected it already, and said so
        return None
    return named if isinstance(named, dict) else None
