"""The labelling page: an HTTP face for the desk, thin. See docs/explanation/security.md for whom it trusts."""

from __future__ import annotations

from importlib.util import find_spec

from asal.errors import UserError

if missing := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
    raise UserError(
        f"{' and '.join(missing)} not installed",
        rule="the labelling page is served by FastAPI and uvicorn",
        hint="pip install 'asal[web]'",
    )
