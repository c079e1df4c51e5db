"""A conda channel in a directory, holding this Python and pip, and a `conda` that installs from it.

Machines without conda and without conda-forge can thereby run `snakemake --sdm conda` for real:
Snakemake hashes, creates and activates the environments of envs/*.yaml, py-rattler solves and
installs their conda part, and pip their pins. Python itself is the machine's, not conda-forge's.
"""

import asyncio
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pip
import rattler
import yaml
from rattler.index import index_fs

PLATFORM = "linux-64"
VERSION = "{}.{}.{}".format(*sys.version_info[:3])
LIBRARY = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
UNUSED = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter"}

CONDA = """#!/bin/sh
exec "{python}" "{program}" "{channel}" "$@"
"""
ACTIVATE = """[ -x "$1/bin/python" ] || { echo "no environment at $1" >&2; return 1; }
export PATH="$1/bin:$PATH" CONDA_PREFIX="$1"
"""


def make_conda(folder: Path) -> Path:
    """Build the channel and the command; returns the directory to put before PATH."""
    channel, commands = folder / "channel", folder / "bin"
    build(channel, "python", VERSION, [], dict(python_files()))
    build(channel, "pip", pip.__version__, [f"python {VERSION}"], dict(pip_files()))
    asyncio.run(index_fs(channel))
    commands.mkdir()
    (commands / "activate").write_text(ACTIVATE)
    text = CONDA.format(python=sys.executable, program=Path(__file__).resolve(), channel=channel)
    (commands / "conda").write_text(text)
    (commands / "conda").chmod(0o755)
    return commands


def python_files() -> Iterator[tuple[str, Path]]:
    """(path in an environment, path here) of this Python and its standard library."""
    base = Path(sys.base_prefix)
    for name in ("python", "python3", f"python{VERSION.rpartition('.')[0]}"):
        yield f"bin/{name}", Path(sys.executable).resolve()
    for path in (base / "lib").glob("libpython*"):
        if path.is_file():
            yield f"lib/{path.name}", path.resolve()
    for path in files(base / LIBRARY):
        yield path.relative_to(base).as_posix(), path


def pip_files() -> Iterator[tuple[str, Path]]:
    """Yield the same for pip."""
    folder = Path(pip.__file__).resolve().parents[1]
    for part in ("pip", f"pip-{pip.__version__}.dist-info"):
        for path in files(folder / part):
            yield f"{LIBRARY}/site-packages/{path.relative_to(folder).as_posix()}", path


def files(root: Path) -> Iterator[Path]:
    """All files below a directory but for caches and what no environment needs."""
    for folder, folders, names in os.walk(root):
        folders[:] = [x for x in folders if x not in UNUSED and not x.startswith("config-")]
        yield from (path.resolve() for path in (Path(folder, n) for n in names) if path.is_file())


def build(
    channel: Path, name: str, version: str, needs: list[str], contents: dict[str, Path]
) -> None:
    """Write a conda package."""
    entries = [
        {
            "_path": place,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size_in_bytes": path.stat().st_size,
        }
        for place, path in contents.items()
    ]
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": needs}
    info = {
        "info/index.json": json.dumps(index | {"subdir": PLATFORM}),
        "info/paths.json": json.dumps({"paths": entries, "paths_version": 1}),
        "info/files": "\n".join(contents),
    }
    target = channel / PLATFORM / f"{name}-{version}-0.tar.bz2"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:bz2", compresslevel=1) as archive:
        for place, text in info.items():
            member = tarfile.TarInfo(place)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
        for place, path in contents.items():
            archive.add(path, place, recursive=False)


async def install(channel: Path, file: Path, prefix: Path) -> None:
    """Do what `conda env create --file FILE --prefix PREFIX` does, with this channel only."""
    *names, last = yaml.safe_load(file.read_text())["dependencies"]
    found = await rattler.solve(
        [rattler.Channel(channel.as_uri())],
        [rattler.MatchSpec(name) for name in names],
        platforms=[PLATFORM, "noarch"],
    )
    cache = channel.parent / "packages"
    await rattler.install(found, target_prefix=prefix, cache_dir=cache, show_progress=False)
    pins = [*("-m", "pip", "install", "--quiet", "--no-input"), *last["pip"]]
    subprocess.run([prefix / "bin" / "python", *pins], check=True)


def main(channel: Path, arguments: list[str]) -> int:
    """Answer the calls that Snakemake makes of conda."""
    match arguments:
        case ["--version"]:
            print("conda 24.7.1")
        case ["info", "--json"]:
            print(json.dumps({"conda_prefix": str(channel.parent), "platform": PLATFORM}))
        case ["clean", *_]:
            pass
        case ["config", "--get", "channel_priority", "--json"]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["env", "create", *options]:
            file, prefix = (options[options.index(key) + 1] for key in ("--file", "--prefix"))
            asyncio.run(install(channel, Path(file), Path(prefix)))
        case _:
            print(f"conda: {arguments} is not supported here", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
