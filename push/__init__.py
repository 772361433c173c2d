"""The phone. Imports nothing of the live layer."""
