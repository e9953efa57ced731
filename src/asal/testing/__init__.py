"""Checks that every part of a kind has to pass, for your own parts too, and small worlds to try them in.

Each module holds `CHECKS`, a table of plain functions that take a way to make the part, and raise AssertionError
with what is wrong: `for check in asal.testing.strategy.CHECKS.values(): check(lambda: strategies["mine"])`.
"""
