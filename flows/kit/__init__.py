"""Means that targets share: the HTTP client, addresses, sandboxes. A target takes from here what it needs."""
