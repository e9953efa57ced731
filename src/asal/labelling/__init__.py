"""Labelling by people: who they are, which image each of them has, and the worker that keeps the next images coming.

Nothing here knows of a browser; `asal.web` serves it.
"""
