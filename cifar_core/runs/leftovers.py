"""What imports and deletions that were killed half way left in the runs directory, taken away once it is old."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress

from cifar_core import runs

IMPORT, DELETED = ".import-", ".deleted-"
"""How the folders begin in which an import and a deletion work."""
OLD_SECONDS = 3_600
"""What is younger may be somebody's work of this moment, which takes seconds."""


def clear() -> None:
    """Delete such folders in the runs directory. What cannot be deleted stays; links are not followed."""
    with suppress(OSError), os.scandir(runs.runs_dir()) as entries:
        for entry in entries:
            if entry.name.startswith((IMPORT, DELETED)) and entry.is_dir(follow_symlinks=False):
                since = entry.stat(follow_symlinks=False)
                if time.time() - max(since.st_mtime, since.st_ctime) > OLD_SECONDS:
                    shutil.rmtree(entry.path, ignore_errors=True)
