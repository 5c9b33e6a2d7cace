"""The upstreams, played on loopback: for the demo and for the tests."""
