"""Data structures and tasks that know nothing of the product."""
