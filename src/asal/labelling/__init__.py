"""People answer: who they are, who has which image before them, and the worker that keeps the next images coming.

Nothing here knows of a browser; `asal.web` serves it.
"""
