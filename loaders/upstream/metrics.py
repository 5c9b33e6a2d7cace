"""What operators see of upstreams and caches, in the process's default Prometheus registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUEST_SECONDS = Histogram(
    "walletgraph_upstream_request_seconds",
    "Requests to an upstream: how long they took, by source and outcome (OK, or the error code of the failure).",
    ["source", "outcome"],
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REQUESTS = Counter(
    "walletgraph_upstream_requests",
    "Requests to an upstream by source, HTTP status (none without an answer) and outcome.",
    ["source", "status", "outcome"],
)
RETRIES = Counter("walletgraph_upstream_retries", "Requests that were sent again after a failure.", ["source"])
RETRIES_DENIED = Counter(
    "walletgraph_upstream_retries_denied", "Failures not retried because the retry budget was spent.", ["source"]
)
HEDGES = Counter(
    "walletgraph_upstream_hedges", "Second copies of slow requests, by which copy won.", ["source", "won"]
)
BREAKER_STATE = Gauge(
    "walletgraph_upstream_breaker_state", "Circuit breaker: 0 closed, 1 half open, 2 open.", ["source"]
)
BUDGET_LEFT = Gauge(
    "walletgraph_upstream_budget_left", "Requests that may still be sent in the current 60 s.", ["source"]
)
RUNNING = Gauge("walletgraph_upstream_requests_running", "Requests on their way to an upstream.", ["source"])
WAITING = Gauge("walletgraph_upstream_requests_waiting", "Requests waiting for a connection or budget.", ["source"])

READ_WHEN_ASKED = (BREAKER_STATE, BUDGET_LEFT, RUNNING, WAITING)
"""Gauges whose values are looked up when somebody asks: no process can tell those of another."""

CACHE_READS = Counter(
    "walletgraph_cache_reads",
    "Answers looked for by kind, tier (memory, shared) and result (fresh, stale_while_revalidate, ..., miss).",
    ["kind", "tier", "result"],
)
CACHE_AGE_SECONDS = Histogram(
    "walletgraph_cache_age_seconds",
    "How old the answers were that a cache gave.",
    ["kind"],
    buckets=(1, 5, 15, 30, 60, 120, 300, 900, 3600, 14400, 86400),
)
CACHE_BYTES = Gauge("walletgraph_cache_bytes", "What the memory cache holds, by its own estimate.")
CACHE_EVICTIONS = Counter("walletgraph_cache_evictions", "Answers that left the memory cache for want of room.")
CACHE_CORRUPT = Counter("walletgraph_cache_corrupt", "Shared values that could not be read, by kind.", ["kind"])
FETCHES = Counter("walletgraph_cache_fetches", "Answers fetched upstream, by kind and outcome.", ["kind", "outcome"])
BATCH_SIZE = Histogram(
    "walletgraph_batch_size",
    "Answers that were fetched together, by kind.",
    ["kind"],
    buckets=(1, 2, 5, 10, 25, 50, 100, 250),
)
SHARED_AVAILABLE = Gauge(
    "walletgraph_shared_store_available", "Whether Redis answers: 1, or 0 while it is given a rest."
)
SHARED_FAILURES = Counter(
    "walletgraph_shared_store_failures", "Redis commands that failed: timeout, connection, refused.", ["reason"]
)
