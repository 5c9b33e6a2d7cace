"""Fields that show an attribute of the record behind an object: nothing is built for what is not selected."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from operator import attrgetter
from typing import Any, Self

from strawberry.types.base import StrawberryList, StrawberryOptional, StrawberryType, has_object_definition
from strawberry.types.field import StrawberryField
from strawberry.types.lazy_type import LazyType


class OfRecord:
    """An object type whose fields are attributes of its ``record``, a private field of its own."""

    record: Any

    @classmethod
    def of(cls, record: Any) -> Self:
        """The object that shows a record."""
        return cls(record=record)  # type: ignore[call-arg]  # what Strawberry makes of the class


class RecordField(StrawberryField):
    """A field of an ``OfRecord``: the attribute at ``path``, with dots, from its record; empty for the record itself.

    Where the field's type is an object with a classmethod ``of``, the attribute is what that takes; None stays None,
    and a list is taken one by one. Attributes are values: they are not awaited.
    """

    def __init__(self, path: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.init = self.repr = self.compare = False
        self._path = path

    @property
    def path(self) -> str:
        """Where the attribute is; its own name if nothing else was said."""
        return self.python_name if self._path is None else self._path

    @property
    def is_basic_field(self) -> bool:
        """Neither information nor arguments are needed to resolve it."""
        return True

    def get_result(self, source: Any, info: Any, args: list[Any], kwargs: Any) -> Any:
        """The attribute, as its type shows it."""
        value, show = self._read(source.record), self._show
        return value if value is None or show is None else show(value)

    @property
    def shows(self) -> bool:
        """Whether the attribute is made into an object."""
        return self._show is not None

    @cached_property
    def _read(self) -> Callable[[Any], Any]:
        return attrgetter(self.path) if self.path else lambda record: record

    @cached_property
    def _show(self) -> Callable[[Any], Any] | None:
        return _shown_as(self.type)

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._path = self._path
        copied.init = copied.repr = copied.compare = False
        return copied


def of_record(path: str | None = None, *, description: str | None = None) -> Any:
    """A field of an ``OfRecord`` (see ``RecordField``)."""
    return RecordField(path, description=description)


def _shown_as(kind: StrawberryType | type[Any]) -> Callable[[Any], Any] | None:
    """What makes objects of attributes; None for what is shown as it is."""
    if isinstance(kind, LazyType):
        return _shown_as(kind.resolve_type())
    if isinstance(kind, StrawberryOptional):
        return _shown_as(kind.of_type)
    if isinstance(kind, StrawberryList):
        one = _shown_as(kind.of_type)
        return None if one is None else lambda values: [value if value is None else one(value) for value in values]
    return getattr(kind, "of", None) if has_object_definition(kind) else None
