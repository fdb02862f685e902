"""What an event is: a frozen dataclass of references and amounts, with a type and a version. It holds no personal data, and no text that a stranger has written.

Note: versions. A new field has a default, and keeps the version: older code ignores it, and newer code reads what was recorded without it. Anything else is a new
version, and the class says in ``upgraded`` how it reads the one before. What has a newer version than the code is left to newer code.
"""

import types
import uuid
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

from orders.events.errors import InvalidPayload, NewerVersion

NAMESPACE = uuid.UUID("6f1c7c0a-6d0e-5a54-9f1e-0d6c2b7f4a11")
Read = Callable[[Any, str], Any]  # of a value, and the name of its field. Raises InvalidPayload


@dataclass(frozen=True, kw_only=True)
class Event:
    """``number`` is the order's. ``earlier``: of several events of one commit, the one that comes first in an order's life has the highest; it becomes true so many
    microseconds before the commit's instant, so that all who read them by their instants read them in this sequence.
    """

    type: ClassVar[str]
    version: ClassVar[int] = 1
    earlier: ClassVar[int] = 0

    number: str

    @property
    def occasion(self) -> str:
        """What distinguishes it from another event of this type about the same order. Most become true once."""
        return "1"

    @property
    def fact_id(self) -> uuid.UUID:
        """The same fact has the same id, whichever version reports it, so recording it twice is once."""
        return uuid.uuid5(NAMESPACE, f"{self.number}:{self.type}:{self.occasion}")

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Self:
        """With what ``known`` says of its fields. Whatever else is known, or is None, is left out."""
        named = {field.name: known[field.name] for field in fields(cls) if known.get(field.name) is not None}
        return cls(**named)

    def to_json(self) -> dict[str, Any]:
        """Its payload. A field that has its default is left out."""
        return {field.name: _written(value) for field in fields(self) if (value := getattr(self, field.name)) != field.default}

    @classmethod
    def from_json(cls, payload: Any, version: int | None = None) -> Self:
        """The event that this payload of this ``version`` says (None: the current one). Raises InvalidPayload, NewerVersion."""
        version = cls.version if version is None else version
        if version > cls.version:
            raise NewerVersion(f"{cls.type} has version {version}, and this code knows {cls.version}")
        if not isinstance(payload, dict):
            raise InvalidPayload(f"{cls.type}: the payload must be an object")
        found: Self = _read_object(cls, payload if version == cls.version else cls.upgraded(payload, version), cls.type)
        return found

    @classmethod
    def upgraded(cls, payload: dict[str, Any], version: int) -> dict[str, Any]:
        """A payload of an earlier ``version`` as the current one. Fields that the current one does not have need not be taken out."""
        return payload


def _written(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_written(one) for one in value]
    return {field.name: getattr(value, field.name) for field in fields(value)} if is_dataclass(value) else value


def _read_object(cls: Any, payload: Any, where: str) -> Any:
    if not isinstance(payload, dict):
        raise InvalidPayload(f"{where} must be an object")
    known = {}
    for name, (read, is_required) in _readers(cls).items():
        if name in payload:
            known[name] = read(payload[name], f"{where}: {name}")
        elif is_required:
            raise InvalidPayload(f"{where}: {name} is missing")
    return cls(**known)


@cache
def _readers(cls: Any) -> dict[str, tuple[Read, bool]]:
    """By the name of each field: how it is read, and whether it must be there."""
    hints = get_type_hints(cls)
    return {field.name: (_reader(hints[field.name]), field.default is MISSING) for field in fields(cls)}


def _reader(hint: Any) -> Read:
    if get_origin(hint) is tuple:
        of_one = _reader(get_args(hint)[0])
        return lambda value, where: tuple(of_one(one, f"{where}[{place}]") for place, one in enumerate(_expected(value, (list,), where)))
    if is_dataclass(hint) and isinstance(hint, type):
        return lambda value, where: _read_object(hint, value, where)
    allowed = get_args(hint) if get_origin(hint) is types.UnionType else (hint,)
    return lambda value, where: _expected(value, allowed, where)


def _expected(value: Any, allowed: tuple[type, ...], where: str) -> Any:
    """A boolean is no number here, although Python takes it for one."""
    if type(value) not in allowed:
        raise InvalidPayload(f"{where} must be {' or '.join(JSON_TYPES[one] for one in allowed)}")
    return value


JSON_TYPES = {str: "string", int: "integer", bool: "boolean", list: "array", types.NoneType: "null"}
