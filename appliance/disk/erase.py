"""A small secret is written over before its file is removed.

Promises: the bytes that the file system gives for this file were written over, and that was synced, before
its name goes.
Never: more than that. A disk that never writes in place (flash, snapshots, copies on write) may keep the old
bytes until it trims them: a disk under LUKS, or a key in a TPM, is what answers that.
"""

from __future__ import annotations

import os
from pathlib import Path

from appliance.disk.durable import remove_file, translated


def erase_file(path: Path) -> bool:
    """Write over a file and remove it; false if there is none.

    Raises:
        NoSpace, DiskFault: the disk failed.
    """
    try:
        with path.open("r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise translated(error, path) from error
    remove_file(path)
    return True
