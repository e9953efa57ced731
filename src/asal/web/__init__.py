"""The labelling page: a thin HTTP layer over the labelling service. See docs/explanation/security.md for its limits."""

from __future__ import annotations

from importlib.util import find_spec

from asal.errors import UserError

if missing := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
    raise UserError(
        f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
        rule="FastAPI and uvicorn serve the labelling page",
        hint="pip install 'asal[web]'",
    )
