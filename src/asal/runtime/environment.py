"""The environment of a result: versions, the commit, the hardware."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from math import ceil
from pathlib import Path
from typing import Any

REPORTED = ("asal", "torch", "numpy", "scipy", "scikit-learn", "lightning-fabric", "pillow", "datasets", "SQLAlchemy")


def versions() -> dict[str, str | None]:
    """Return the versions of what a result depends on; None for what is not installed."""
    installed: dict[str, str | None] = {"python": platform.python_version()}
    for name in REPORTED:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = None
    return installed


def commit() -> str | None:
    """Return the commit of the source tree asal runs from, marked where files differ from it; None outside one."""
    here = Path(__file__).parents[1]

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10).stdout

    try:
        if "src/asal" not in git("ls-files", "--full-name", "--", "core.py"):
            return None  # a repository that contains an installed asal is not asal's
        return git("rev-parse", "--short=12", "HEAD").strip() + (
            "+" if git("status", "--porcelain", "--", ".").strip() else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


QUOTAS = (  # of a container's processor time: the files that hold it and its period, in microseconds
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)


def cores() -> int:
    """Return how many cores this process may use, by its affinity and its container's quota; at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, _quota() or allowed)


def _quota() -> int | None:
    """Return how many cores a container's quota of processor time is worth, rounded up; None where there is none."""
    for files in QUOTAS:
        try:
            quota, period = " ".join(Path(file).read_text() for file in files).split()
            if float(quota) > 0:  # −1, or "max": no quota
                return max(1, ceil(float(quota) / float(period)))
        except (OSError, ValueError):
            continue
    return None


def hardware() -> dict[str, Any]:
    """Return the processor, the cores this process may use, the memory in GiB, and the GPU."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": round(memory, 1),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": platform.system(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def facts() -> dict[str, Any]:
    """Return versions, commit and hardware."""
    return {"versions": versions(), "commit": commit(), "hardware": hardware()}
