"""The HTTP server: dynamic batching, and the wire formats of several moderation services."""
