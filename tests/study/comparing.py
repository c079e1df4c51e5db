"""Hold what a study has made against an undisturbed run of it."""

import csv
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from conftest import Study

# What is not the same twice, for it holds times of day or seconds.
TIMED = re.compile(r"/(logs|benchmarks)/|/report\.html$|/summary\.json$")
TIMES = {"seconds", "tokens_per_s", "waiting_share"}  # columns of tables
TEMPORARY = re.compile(r"/shard-\w+/|/states-\d+/")


def final_files(study: Study) -> Iterator[Path]:
    """Yield the files under their final names, relative to the study's folder; nothing hidden."""
    for folder, folders, files in os.walk(study.folder / "results"):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = (Path(folder) / name).relative_to(study.folder)
            if not name.startswith(".") and not TIMED.search(path.as_posix()):
                yield path


class Watch(threading.Thread):
    """Looks all the time whether any file has another size than it will have."""

    def __init__(self, study: Study, undisturbed: Study) -> None:
        super().__init__(daemon=True)
        self.study, self.partial, self.done = study, set(), threading.Event()
        self.sizes = {
            path: (undisturbed.folder / path).stat().st_size
            for path in final_files(undisturbed)
            if not has_times(undisturbed.folder / path)
        }

    def run(self) -> None:
        while not self.done.wait(0.1):
            for path in final_files(self.study):
                with suppress(FileNotFoundError):
                    size = (self.study.folder / path).stat().st_size
                    if size != self.sizes.get(path, size):
                        self.partial.add(path)

    def stop(self) -> None:
        """Look no more."""
        self.done.set()
        self.join()


def differing(study: Study, undisturbed: Study) -> list[Path]:
    """Return the files that are not, byte for byte, those of the undisturbed run."""
    return [
        path
        for path in final_files(study)
        if not (undisturbed.folder / path).exists()
        or content(study.folder / path) != content(undisturbed.folder / path)
    ]


def content(path: Path) -> bytes | list[list[str]]:
    """Return a file's bytes; of a table with columns that hold times, the other columns' cells."""
    if not has_times(path):
        return path.read_bytes()
    header, *rows = csv.reader(path.read_text().splitlines())
    kept = [i for i, name in enumerate(header) if name not in TIMES]
    return [[row[i] for i in kept] for row in (header, *rows)]


def has_times(path: Path) -> bool:
    """Whether a file is a table with such columns."""
    if path.suffix != ".csv":
        return False
    with path.open() as file:
        return not TIMES.isdisjoint(file.readline().strip().split(","))


def leftovers(study: Study) -> set[Path]:
    """Hidden files and directories among the results, but for Snakemake's marks in directories."""
    found = (study.folder / "results").rglob(".*")
    return {path for path in found if path.name != ".snakemake_timestamp"}
