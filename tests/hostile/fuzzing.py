"""How much is tried, and what may come of it."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

CODES = {
    "BAD_USER_INPUT",
    "SOURCE_FAILED",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "OPERATION_TOO_LARGE",
    "PERSISTED_QUERY_NOT_FOUND",
}
BUSY_SECONDS = 0.1
"""For how long a small request may keep the server from others."""

TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
"""How many times as much is tried as usual, each time something else."""


def fuzzing(examples: int) -> settings:
    """Settings for so many examples: always the same ones, unless more are asked for."""
    return settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        phases=[Phase.generate],  # to find the smallest example takes minutes
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
