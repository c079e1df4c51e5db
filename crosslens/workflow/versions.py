"""Versions of the packages that a job uses, told where it runs: engines have environments apart."""

import platform
from importlib.metadata import PackageNotFoundError, version


def installed(*packages: str) -> dict[str, str]:
    """Versions of Python and of those packages that are installed, by name."""
    found = {"Python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
