"""What can go wrong while records are loaded.

LoadError                       a record could not be loaded
    UpstreamTimeoutError        TIMEOUT                   no answer within the deadline
    UpstreamUnreachableError    UNREACHABLE               no connection, or the whole host is gone
    UpstreamRateLimitedError    RATE_LIMITED              429
    UpstreamUnauthorizedError   UNAUTHORIZED              the key is missing or wrong
    UpstreamForbiddenError      FORBIDDEN                 the key may not do this
    UpstreamResponseError       BAD_RESPONSE              not JSON, wrong shape, truncated or too large
    UpstreamFailedError         UPSTREAM_ERROR            5xx
    UpstreamRejectedError       UPSTREAM_REJECTED_INPUT   400
    CircuitOpenError            CIRCUIT_OPEN              it failed too often of late to be asked
    BudgetExhaustedError        BUDGET_EXHAUSTED          our own limit was reached
InvalidIdError                  an identifier is malformed
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, Self


class SourceErrorCode(Enum):
    """Why a source failed, as clients see it."""

    TIMEOUT = "TIMEOUT"
    UNREACHABLE = "UNREACHABLE"
    RATE_LIMITED = "RATE_LIMITED"
    UNAUTHORIZED = "UNAUTHORIZED"
    FORBIDDEN = "FORBIDDEN"
    BAD_RESPONSE = "BAD_RESPONSE"
    UPSTREAM_ERROR = "UPSTREAM_ERROR"
    UPSTREAM_REJECTED_INPUT = "UPSTREAM_REJECTED_INPUT"
    CIRCUIT_OPEN = "CIRCUIT_OPEN"
    BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"


class LoadError(Exception):
    """A record could not be loaded.

    ``message`` is safe to show: it holds no key and nothing that the upstream sent. ``calls`` are the numbers of
    the upstream requests spent, ``retry_after_seconds`` what the upstream asked for, None when it did not.
    """

    code: ClassVar[SourceErrorCode]
    message: ClassVar[str]

    def __init__(self, *, calls: frozenset[int] = frozenset(), retry_after_seconds: int | None = None) -> None:
        super().__init__(self.message)
        self.calls = calls
        self.retry_after_seconds = retry_after_seconds

    def with_calls(self, calls: frozenset[int]) -> Self:
        """The same failure, where it took these requests."""
        return type(self)(calls=calls, retry_after_seconds=self.retry_after_seconds)


class UpstreamTimeoutError(LoadError):
    """The upstream did not answer within its deadline."""

    code = SourceErrorCode.TIMEOUT
    message = "The source did not answer in time."


class UpstreamUnreachableError(LoadError):
    """No connection to the upstream, or its whole host answers 404 or 410."""

    code = SourceErrorCode.UNREACHABLE
    message = "The source cannot be reached."


class UpstreamRateLimitedError(LoadError):
    """The upstream asked for fewer requests (429)."""

    code = SourceErrorCode.RATE_LIMITED
    message = "The source limits how often it may be asked."


class UpstreamUnauthorizedError(LoadError):
    """The upstream did not accept the configured key."""

    code = SourceErrorCode.UNAUTHORIZED
    message = "The source did not accept the configured key."


class UpstreamForbiddenError(LoadError):
    """The configured key may not ask this, a plan's limits included."""

    code = SourceErrorCode.FORBIDDEN
    message = "The configured key or plan does not allow this request."


class UpstreamResponseError(LoadError):
    """The answer is not JSON, has the wrong shape, is truncated or larger than the cap."""

    code = SourceErrorCode.BAD_RESPONSE
    message = "The source sent an answer that cannot be read."


class UpstreamFailedError(LoadError):
    """The upstream reported a failure of its own (5xx)."""

    code = SourceErrorCode.UPSTREAM_ERROR
    message = "The source reported a failure of its own."


class UpstreamRejectedError(LoadError):
    """The upstream refused the request as malformed (400)."""

    code = SourceErrorCode.UPSTREAM_REJECTED_INPUT
    message = "The source refused the request."


class CircuitOpenError(LoadError):
    """The upstream failed so often of late that it is not asked for a while."""

    code = SourceErrorCode.CIRCUIT_OPEN
    message = "The source failed too often of late and is given a rest."


class BudgetExhaustedError(LoadError):
    """Our own limit on requests was reached."""

    code = SourceErrorCode.BUDGET_EXHAUSTED
    message = "More was needed than the budget of requests allows."


LOAD_ERRORS: Mapping[str, type[LoadError]] = {error.code.value: error for error in LoadError.__subclasses__()}
"""What is raised for each code."""


class InvalidIdError(ValueError):
    """An identifier is malformed: ``reason`` says what is wrong with it, the message quotes it as well."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f'"{text if len(text) <= 80 else text[:77] + "..."}" {reason}')
        self.reason = reason
