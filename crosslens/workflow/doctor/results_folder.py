"""Check what resuming and atomic writing need of the results' file system."""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from crosslens.io.atomic import AT_FDCWD, LIBC, RENAME_EXCHANGE
from crosslens.workflow.doctor.finding import Finding, error, ok, warning

SKEW = 5.0  # seconds between the clocks of machine and file system


def results_folder(results: Path) -> list[Finding]:
    """Check locks, renames, hard links and the clock of a folder, in a temporary folder in it."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".doctor-", dir=results) as folder:
            return [check(Path(folder)) for check in CHECKS]
    except OSError as problem:
        return [error("results", f"{results}: {problem.strerror}. Correct its permissions.")]


def file_locks(folder: Path) -> Finding:
    """Check that a second lock of a file is refused: HDF5 locks the files that it opens."""
    with (folder / "lock").open("w") as one, (folder / "lock").open("w") as other:
        try:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            if os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() in ("FALSE", "0"):
                return ok("file locks", f"refused ({problem.strerror}); HDF5 does without")
            return error(
                "file locks",
                f"refused ({problem.strerror}). Mount the results with locks (Lustre: -o flock), "
                "or export HDF5_USE_FILE_LOCKING=FALSE.",
            )
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ok("file locks", "work")
    return warning(
        "file locks",
        "the file system grants two locks of one file. Never start a study twice at once here.",
    )


def renames(folder: Path) -> Finding:
    """Check that files replace files, and that two folders can be exchanged in one step."""
    (folder / "old").write_text("old")
    (folder / "new").write_text("new")
    (folder / "new").replace(folder / "old")
    if (folder / "old").read_text() != "new":
        return error(
            "renames", "renaming does not replace an existing file. Use another file system."
        )
    one, other = folder / "one", folder / "other"
    one.mkdir()
    other.mkdir()
    names = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other))
    if LIBC.renameat2(*names, RENAME_EXCHANGE):
        return warning(
            "renames",
            "folders cannot be exchanged atomically. A kill during an exchange leaves a folder of "
            "the results under a name that ends in .old.tmp. Rename that folder.",
        )
    return ok("renames", "files are replaced and folders exchanged atomically")


def hard_links(folder: Path) -> Finding:
    """Check hard links, which GRPO's checkpoints need."""
    (folder / "file").touch()
    try:
        os.link(folder / "file", folder / "link")
    except OSError as problem:
        text = f"refused ({problem.strerror}), but train_grpo needs them. Use another file system."
        return error("hard links", text)
    return ok("hard links", "work")


def clock(folder: Path) -> Finding:
    """Compare this machine's clock with the file system's, which Snakemake uses."""
    (folder / "now").touch()
    skew = (folder / "now").stat().st_mtime - time.time()
    text = f"file system and machine differ by {abs(skew):.1f} s"
    if abs(skew) <= SKEW:
        return ok("clock", text)
    return warning("clock", f"{text}: Snakemake may repeat jobs. Synchronize the clocks (NTP).")


CHECKS: tuple[Callable[[Path], Finding], ...] = (file_locks, renames, hard_links, clock)
