"""What moderation services send and expect, as values: no server, no files."""
