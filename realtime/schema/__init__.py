"""Shapes on the wire: request bodies, documents, events, limits, and the caller of a request."""
