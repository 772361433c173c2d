"""Doubles of the push services: they behave like the real ones, and can be made to fail. Not part of a running server."""
