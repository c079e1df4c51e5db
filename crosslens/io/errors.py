"""Define the exception for invalid input, and name what refuses a file lock."""

import errno
import os

LOCK_TEXT = "unable to lock file"  # HDF5's, whatever the error number


class InputError(ValueError):
    """Invalid input from the user. The message is one line: `key: problem. Fix.`"""


def lock_refusal(error: BaseException) -> str | None:
    """Return why a file could not be locked and what to do, None if that is not the error.

    Either another process holds a lock (EAGAIN), or the file system has none (ENOLCK, ENOSYS and
    EOPNOTSUPP, as on NFS and Lustre).
    """
    number = getattr(error, "errno", None)
    if number is None or (number != errno.ENOLCK and LOCK_TEXT not in str(error)):
        return None
    if number == errno.EAGAIN:
        return "another process holds a lock on this file. End that process and run again."
    remedy = "Use another file system"
    if LOCK_TEXT in str(error):
        remedy = "Set the environment variable HDF5_USE_FILE_LOCKING=FALSE, or use another one"
    return f"the file system refuses locks ({os.strerror(number)}). {remedy}, and run again."
