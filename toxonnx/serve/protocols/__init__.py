"""One module per wire format: each translates a request into texts, and their scores into a response."""
