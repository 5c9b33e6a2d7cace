"""Documents that clients name by their hash: automatic persisted queries, and trusted documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from cachetools import LRUCache

from loaders.upstream.logs import log
from schema.http.parameters import Parameters
from schema.http.refusal import RequestError

_PREFIX = "sha256:"
_NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"


class TrustedMode(Enum):
    """What happens to a document that is not trusted."""

    ALLOW = "allow"
    LOG = "log"
    REQUIRE = "require"


class TrustedDocuments:
    """Documents by the SHA-256 of their text, in hexadecimal, and what happens to others."""

    def __init__(self, documents: Mapping[str, str], mode: TrustedMode = TrustedMode.ALLOW) -> None:
        self.documents = documents
        self.mode = mode

    @classmethod
    def load(cls, folder: Path, mode: TrustedMode) -> TrustedDocuments:
        """Reads every ``*.json`` of a folder: an object of documents by hash, with or without ``sha256:``.

        Raises ``ValueError`` for a folder without any, a file that cannot be read, or a hash that is not its
        document's.
        """
        documents: dict[str, str] = {}
        for file in sorted(folder.glob("*.json")):
            try:
                manifest = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ValueError(f"{file} cannot be read: {error}") from error
            if not isinstance(manifest, dict) or not all(isinstance(text, str) for text in manifest.values()):
                raise ValueError(f"{file} is not an object of documents by hash")
            for key, text in manifest.items():
                digest = key.removeprefix(_PREFIX)
                if digest != sha256(text):
                    raise ValueError(f"{file}: {key} is not the SHA-256 of its document")
                documents[digest] = text
        if not documents:
            raise ValueError(f"{folder} has no documents: expected *.json with documents by hash")
        return cls(documents, mode)


class PersistedDocuments:
    """Finds the document of a request; keeps what clients register by Apollo's protocol, up to ``max_bytes``.

    The protocol mends itself: a client that is told of an unknown hash sends the document again, with its hash.
    """

    def __init__(self, trusted: TrustedDocuments | None = None, *, max_bytes: int = 8 * 1024 * 1024) -> None:
        self._trusted = TrustedDocuments({}) if trusted is None else trusted
        self._registered: LRUCache[str, str] = LRUCache(max_bytes, getsizeof=lambda text: 200 + 2 * len(text))

    def text_of(self, parameters: Parameters) -> str:
        """The document that is meant, to be executed; raises ``RequestError``."""
        digest, text = _digest(parameters), parameters.query
        if text:
            if digest is not None and sha256(text) != digest:
                raise RequestError(400, "The hash is not that of the query.")
            self._check(text, parameters)
            return text
        if digest is None:
            raise RequestError(400, "There is no query.")
        found = self._trusted.documents.get(digest)
        if found is None and self._trusted.mode is not TrustedMode.REQUIRE:
            found = self._registered.get(digest)
            if found is not None:
                self._check(found, parameters)
        if found is None:
            raise RequestError(404, "PersistedQueryNotFound", _NOT_FOUND)
        return found

    def keep(self, parameters: Parameters) -> None:
        """Remembers a document that came with its hash, and was found valid."""
        digest = _digest(parameters)
        if digest is not None and parameters.query and 2 * len(parameters.query) < self._registered.maxsize // 8:
            self._registered[digest] = parameters.query

    def _check(self, text: str, parameters: Parameters) -> None:
        """Tells of a document that is not trusted, or raises ``RequestError``, as the mode has it."""
        mode = self._trusted.mode
        if mode is TrustedMode.ALLOW or (digest := sha256(text)) in self._trusted.documents:
            return
        if mode is TrustedMode.REQUIRE:
            raise RequestError(400, "Only trusted documents are executed: name one by its hash.")
        name = (parameters.operation_name or "")[:64]
        log.warning("document is not trusted", sha256=digest, operation=name)


def sha256(text: str) -> str:
    """The hash of a document, in hexadecimal."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _digest(parameters: Parameters) -> str | None:
    """The hash that a request names, by either protocol; raises ``RequestError``."""
    if parameters.document_id is not None:
        return parameters.document_id.removeprefix(_PREFIX)
    persisted = (parameters.extensions or {}).get("persistedQuery")
    if persisted is None:
        return None
    if not isinstance(persisted, dict) or persisted.get("version") != 1:
        raise RequestError(400, "Only version 1 of persisted queries is known.")
    digest = persisted.get("sha256Hash")
    if not isinstance(digest, str):
        raise RequestError(400, '"sha256Hash" is not a string.')
    return digest.removeprefix(_PREFIX)
