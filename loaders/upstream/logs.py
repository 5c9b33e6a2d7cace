"""Logs: events with fields through the standard library's logging, which a host may format as it likes.

No address, key, query text or variable belongs into an event or its fields.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor

from loaders.upstream.tracing import current_trace_id

LogFormat = Literal["auto", "json", "console"]

_NAME = "walletgraph"

# EVM addresses, and base58 of 32 bytes.
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40,}|\b(?=[A-Za-z]*\d)[1-9A-HJ-NP-Za-km-z]{32,44}\b")


def _with_trace_id(logger: Any, method: str, event: EventDict) -> EventDict:
    if (trace_id := current_trace_id()) is not None:
        event.setdefault("trace_id", trace_id)
    return event


def _as_record(logger: Any, method: str, event: EventDict) -> dict[str, Any]:
    """Arguments for the standard library; below one name, fields cannot clash with those that records have."""
    exception = event.pop("exc_info", None)
    return {"msg": event.pop("event"), "exc_info": exception, "extra": {"fields": event}}


log: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    logging.getLogger(_NAME),
    processors=[structlog.stdlib.filter_by_level, _with_trace_id, _as_record],
    wrapper_class=structlog.stdlib.BoundLogger,
    context_class=dict,
    cache_logger_on_first_use=True,
)
"""Logs events with fields: ``log.info("cache emptied", source="ONDO_GM")``."""


def configure_logs(format: LogFormat, level: str) -> None:
    """Sends the logs of the whole process to stderr, for a process that is ours alone.

    ``auto`` is ``console`` on a terminal, else ``json``: one object a line.
    """
    terminal = sys.stderr.isatty()
    renderer: Processor
    if format == "console" or (format == "auto" and terminal):
        # Other formatters of tracebacks show local variables.
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=plain)
    else:
        renderer = structlog.processors.JSONRenderer()
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                _with_fields,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper("iso", utc=True),
                _with_trace_id,
                structlog.processors.format_exc_info,
                _without_addresses,
                renderer,
            ]
        )
    )
    handler.setLevel(level.upper())  # for loggers with a level of their own
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def _with_fields(logger: Any, method: str, event: EventDict) -> EventDict:
    return {**event, **getattr(event["_record"], "fields", {})}


def _without_addresses(logger: Any, method: str, event: EventDict) -> EventDict:
    """Messages and tracebacks of others may quote what a client sent."""
    for name in ("event", "exception"):
        if isinstance(text := event.get(name), str):
            event[name] = _ADDRESS.sub("[address]", text)
    return event
