"""Runs and their folders, the only channel between page and worker."""

# ruff: noqa: F401 - re-exported

from cifar_core.runs.folder import (
    ID_PATTERN,
    LIVE_STATES,
    NAME_PATTERN,
    NAME_WANTED,
    RESUMABLE_STATES,
    START_SECONDS,
    STATES,
    Run,
    budget_bytes,
    check_disk,
    create,
    delete,
    existing,
    find_link,
    finished_runs,
    folder_beside_runs,
    get,
    gigabytes,
    list_runs,
    new_id,
    reserve_bytes,
    run_lock,
    runs_dir,
    size_bytes,
    stamped,
)
from cifar_core.runs.records import load_json, read_json, read_rows, write_json
