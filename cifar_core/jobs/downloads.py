"""The download of CIFAR-10 as a job; `cifar10.status()` says how far it is."""

from __future__ import annotations

from cifar_core.data import batch_files, cifar10
from cifar_core.jobs.job import Job


def cifar10_job() -> Job:
    """Return the job that puts CIFAR-10 into the cache."""
    return Job(
        cifar10.cache_dir(),
        batch_files.BINARY_ARCHIVE,
        ("cifar_core", "data", "download", "--json"),
        "The download of CIFAR-10",
        "make room there, or set CIFAR_CACHE_DIR",
    )
