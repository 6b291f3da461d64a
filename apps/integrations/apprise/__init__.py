"""Chat messages to the many services that apprise knows, by its URLs."""
