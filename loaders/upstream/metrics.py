"""What operators see of the requests to upstreams, in the process's default Prometheus registry."""

from __future__ import annotations

from prometheus_client import Histogram

REQUEST_SECONDS = Histogram(
    "walletgraph_upstream_request_seconds",
    "Requests to an upstream: how long they took, by source and outcome (OK, or the error code of the failure).",
    ["source", "outcome"],
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
