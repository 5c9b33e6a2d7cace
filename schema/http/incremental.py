"""``@defer`` and ``@stream`` as clients read them: by the current draft, or by the one of Apollo's clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from graphql.execution import InitialIncrementalExecutionResult, SubsequentIncrementalExecutionResult

Payload = InitialIncrementalExecutionResult | SubsequentIncrementalExecutionResult


class IncrementalFormat(Protocol):
    """Writes the payloads of one response, in their order."""

    media_type: str

    def write(self, payload: Payload) -> dict[str, Any]: ...


class CurrentFormat:
    """Payloads with ``pending``, ``incremental`` by id, and ``completed``; asked for by ``incrementalSpec=v0.2``."""

    media_type = 'multipart/mixed; boundary="-"; incrementalSpec=v0.2'

    def write(self, payload: Payload) -> dict[str, Any]:
        return {**payload.formatted}


class DeferSpec20220824:
    """Payloads with ``incremental`` by path; asked for by ``deferSpec=20220824``, or by no name at all.

    It names the first of some streamed items by its index, so what was sent is kept together until the end.
    """

    media_type = 'multipart/mixed; boundary="-"; deferSpec=20220824'

    def __init__(self) -> None:
        self._sent: Any = None
        self._places: dict[str, tuple[list[str | int], str | None]] = {}

    def write(self, payload: Payload) -> dict[str, Any]:
        written: dict[str, Any] = {**payload.formatted}
        if "data" in written:
            self._sent = written["data"]
        for pending in written.pop("pending", ()):
            self._places[pending["id"]] = (pending["path"], pending.get("label"))
        patches = [self._placed(patch) for patch in written.pop("incremental", ())]
        for completed in written.pop("completed", ()):
            path, label = self._places.pop(completed["id"])
            if completed.get("errors"):
                patches.append(self._failed(completed["errors"], path, label))
        return {**written, "incremental": patches} if patches else written

    def _at(self, path: list[str | int]) -> Any:
        place = self._sent
        for key in path:
            place = place[key]
        return place

    def _failed(self, errors: Any, path: list[str | int], label: str | None) -> dict[str, Any]:
        place = self._at(path)
        if isinstance(place, list):
            return _patch({"items": None, "errors": errors}, [*path, len(place)], label)
        return _patch({"data": None, "errors": errors}, path, label)

    def _placed(self, patch: Mapping[str, Any]) -> dict[str, Any]:
        path, label = self._places[patch["id"]]
        path = [*path, *patch.get("subPath", ())]
        place = self._at(path)
        if "items" in patch:
            path.append(len(place))
            place.extend(patch["items"])
        else:
            place.update(patch["data"])
        return _patch({name: patch[name] for name in ("data", "items", "errors") if name in patch}, path, label)


def _patch(patch: dict[str, Any], path: list[str | int], label: str | None) -> dict[str, Any]:
    return {**patch, "path": path, **({} if label is None else {"label": label})}
