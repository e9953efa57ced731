"""A project folder can be looked at without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = [
    "asal.project.folder",
    "asal.project.status",
    "asal.labelling.annotators",
    "asal.labelling.exchange.export",
    "asal.labelling.exchange.imports",
    "asal.web.project_info",
]


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_importing_it_does_not_import_torch(module: str) -> None:
    script = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
