"""Messages: what one of this shop looks like. Whoever publishes keeps to it, and the consumer refuses anything else: somebody else put it there, or a mistake did.

Celery reads much of a message in the worker's main process, before any task is protected, and passes the rest on to a child. So all that it reads is checked here.
"""

import json
from typing import Any

MOST_BYTES = 256 * 1024  # ours have 1 to 4 KB
DEEPEST = 24  # ours: a chain of signatures with their errbacks, 8
CONTENT = ("application/json", "utf-8")
NOTHING = type(None)
HEADERS: dict[str, tuple[type, ...]] = {
    "argsrepr": (str, NOTHING),
    "kwargsrepr": (str, NOTHING),
    "origin": (str, NOTHING),
    "root_id": (str, NOTHING),
    "parent_id": (str, NOTHING),
    "meth": (str, NOTHING),
    "group": (str, NOTHING),  # Celery publishes errbacks as a group
    "retries": (int, NOTHING),
    "group_index": (int, NOTHING),
    "replaced_task_nesting": (int, NOTHING),
    "ignore_result": (bool, NOTHING),
    "x_cid": (str, NOTHING),
    "x_hops": (int, NOTHING),
}
# Waits are rows, and nothing is discarded for its age.
UNUSED = ("eta", "expires", "shadow", "stamps", "stamped_headers", "compression")
SHOWN = ("id", "task", "root_id", "parent_id", "x_cid")  # what people read in logs and in Flower
LONGEST = 200
EMBEDDED = {"callbacks", "errbacks", "chain", "chord"}
SIGNATURE: dict[str, type] = {"task": str, "args": list, "kwargs": dict, "options": dict}


def wrong_with(message: Any) -> str:
    """What is wrong with a message, as kombu delivers it, in one sentence; empty: whoever knows its task may handle it."""
    body = message.body
    if not isinstance(body, bytes | str | memoryview) or len(body) > MOST_BYTES:
        return f"it is larger than {MOST_BYTES} bytes, or has no body"
    if (message.content_type, message.content_encoding) != CONTENT:
        return f"its content is not {' in '.join(CONTENT)}"
    return wrong_with_headers(message.headers) or _of_body(message)


def wrong_with_headers(headers: Any) -> str:
    if not isinstance(headers, dict):
        return "its headers are no mapping"
    if any(not _is_readable(headers.get(name)) for name in SHOWN) or not (headers.get("id") and headers.get("task")):
        return f"one of {', '.join(SHOWN)} is missing, no text, or cannot be shown"
    wrong = [name for name, kinds in HEADERS.items() if type(headers.get(name)) not in kinds]
    wrong += [name for name in UNUSED if headers.get(name)]
    if not _are_limits(headers.get("timelimit")):
        wrong.append("timelimit")
    return f"its headers hold what this shop never sends: {', '.join(wrong)}" if wrong else ""


def _are_limits(value: Any) -> bool:
    """Hard and soft, in seconds."""
    return value is None or (isinstance(value, list) and len(value) == 2 and all(limit is None or _is_positive(limit) for limit in value))


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and value > 0


def _is_readable(value: Any) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= LONGEST and value.isprintable())


def _of_body(message: Any) -> str:
    try:
        payload = _payload(message)
    except Exception:  # kombu wraps what a decoder raises, and not all of it
        return "its body cannot be decoded"
    if not isinstance(payload, list) or [type(part) for part in payload] != [list, dict, dict]:
        return "its body is no list of arguments, named arguments and what follows"
    return _of_depth(payload) or _of_embedded(payload[2])


def _payload(message: Any) -> Any:
    """What kombu makes of it. It looks at each object for a type that it knows; that is left out where the text cannot name any."""
    body = bytes(message.body) if isinstance(message.body, memoryview) else message.body
    text = body.decode() if isinstance(body, bytes) else body
    return message.payload if "__type__" in text or "\\u" in text else json.loads(text)


def _of_depth(payload: Any) -> str:
    """Without recursion: what is nested too deeply is decoded here, and cannot be passed on to a child."""
    level, depth = [payload], 0
    while level:
        if depth > DEEPEST:
            return "its body is nested too deeply"
        below: list[Any] = []
        for part in level:
            if isinstance(part, list):
                below += part
            elif isinstance(part, dict):
                below += [*part, *part.values()]
            elif isinstance(part, str) and not part.isprintable():
                return "its body holds characters that cannot be shown"
        level, depth = below, depth + 1
    return ""


def _of_embedded(embedded: dict[str, Any]) -> str:
    """What Celery publishes once the task has ended: it is met when the money has moved already."""
    if set(embedded) != EMBEDDED or embedded["chord"] is not None:
        return f"what follows it is not {', '.join(sorted(EMBEDDED))}, or is a chord"
    for name in ("callbacks", "errbacks", "chain"):
        following = embedded[name]
        if following is not None and not (isinstance(following, list) and all(map(_is_signature, following))):
            return f"its {name} are no list of tasks"
    return ""


def _is_signature(value: Any) -> bool:
    return isinstance(value, dict) and all(type(value.get(name)) is kind for name, kind in SIGNATURE.items())
