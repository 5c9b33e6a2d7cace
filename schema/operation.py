"""What is known of an operation while it runs, and what runs around it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

from strawberry.extensions import SchemaExtension
from strawberry.extensions.base_extension import HOOK_METHODS
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.types import ExecutionContext

from schema.documents import Executable

_NOTHING = nullcontext()


@dataclass
class Operation(ExecutionContext):
    """One operation; ``executable`` is None until it is known to be one that may be executed."""

    executable: Executable | None = None


Hook = Callable[[SchemaExtension], Generator[None]]


class Hooks:
    """The hooks of some extensions, which are synchronous generators, found out once for all operations."""

    def __init__(self, extensions: Sequence[SchemaExtension]) -> None:
        self._of = {name: _hooks_of(extensions, name) for name in HOOK_METHODS}

    def around(self, name: str, extensions: Sequence[SchemaExtension]) -> Any:
        """What these extensions do around a phase of one operation, as an asynchronous context manager."""
        hooks = self._of[name]
        return _Around([hook(extensions[place]) for place, hook in hooks]) if hooks else _NOTHING


class Runner(SchemaExtensionsRunner):
    """Runs extensions: as inherited it costs a tenth of a millisecond to find out which hooks they have."""

    def __init__(self, operation: ExecutionContext, extensions: list[SchemaExtension], hooks: Hooks) -> None:
        super().__init__(operation, extensions)
        self._hooks = hooks

    def operation(self) -> Any:
        return self._hooks.around("on_operation", self.extensions)

    def parsing(self) -> Any:
        return self._hooks.around("on_parse", self.extensions)

    def validation(self) -> Any:
        return self._hooks.around("on_validate", self.extensions)

    def executing(self) -> Any:
        return self._hooks.around("on_execute", self.extensions)

    async def get_extensions_results(self, ctx: ExecutionContext) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for extension in self.extensions:
            results.update(cast("dict[str, Any]", extension.get_results()))
        results.update(ctx.extensions_results)
        return results


class _Around:
    """Hooks around one phase of an operation."""

    __slots__ = ("_hooks",)

    def __init__(self, hooks: list[Generator[None]]) -> None:
        self._hooks = hooks

    async def __aenter__(self) -> None:
        for hook in self._hooks:
            next(hook)

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        raised = error
        for hook in reversed(self._hooks):
            try:
                next(hook) if raised is None else hook.throw(raised)
            except StopIteration:
                raised = None
            except BaseException as another:
                raised = another
        if error is not None:
            error.__traceback__ = traceback  # without the frames of here, which know the error
        if raised is not error and raised is not None:
            raise raised


def _hooks_of(extensions: Sequence[SchemaExtension], name: str) -> Sequence[tuple[int, Hook]]:
    """Those hooks of this name that do something, with the places of their extensions."""
    hooks = [(place, getattr(type(extension), name)) for place, extension in enumerate(extensions)]
    own = [(place, hook) for place, hook in hooks if hook is not getattr(SchemaExtension, name)]
    assert all(inspect.isgeneratorfunction(hook) for _, hook in own)
    return own
