"""The local analysis engine: no key, no network, the same answer for the same input."""
