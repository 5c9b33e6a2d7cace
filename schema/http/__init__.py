"""The graph over HTTP and WebSocket."""
