"""How much the tests notice: cosmic-ray changes one place of the code at a time, and some covering test must fail.

``python -m tests.mutants`` goes on where it was stopped; its state is in ``.mutants``, one session of cosmic-ray a module.
"""
