"""Pin every package of each environment for Linux on x86-64: envs/locks/NAME.txt.

usage: .venvs/.tools/bin/python envs/lock_environments.py [NAME ...]      (no name: all)

uv resolves the requirements of envs/NAME.yaml from the package index and installs nothing. To move
one package only, pin it in the YAML file.
"""

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from make_environments import (  # noqa: E402
    ENVS,
    SETTINGS,
    Failure,
    cpu_sources,
    dependencies,
    pip_settings,
)

LOCKS = ENVS / "locks"
PLATFORM = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
MEDIA = ("torchaudio", "torchvision")
# Required by LLaMA-Factory and vLLM, used neither to train on text nor to generate it. The media
# packages moreover break on import where their build does not match that of torch.
UNUSED = {
    "sft": (*MEDIA, "av", "gradio", "modelscope"),
    "sft-cuda": (*MEDIA, "av", "gradio", "modelscope"),
    "vllm": (*MEDIA, "torchcodec"),
}


def resolve(name: str, uv: Path, lock: Path | None = None) -> str:
    """Return the pins of all packages of an environment, one a line, without any address.

    `lock` holds pins to keep. Raises Failure when the requirements have no solution or the
    package index cannot be reached.
    """
    _, requirements = dependencies(ENVS / f"{name}.yaml")
    sources = [pip_settings("index-url")] if name.endswith("-cuda") else cpu_sources()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as unused:
        unused.write("\n".join(UNUSED.get(name, ())))
        unused.flush()
        command = [uv, "pip", "compile", "-", "--no-header", "--no-annotate", "--quiet", *PLATFORM]
        command += ["--excludes", unused.name, *(["--constraints", lock] if lock else [])]
        for source in sources:
            done = subprocess.run(
                [*command, *source],
                input="\n".join(requirements),
                capture_output=True,
                text=True,
                check=False,
                env=SETTINGS,
            )
            if done.returncode == 0:
                return done.stdout
    raise Failure(f"environment {name}: {done.stderr.strip()}")


def write_lock(name: str, uv: Path) -> str:
    """Write the lock of an environment; return a line that says so."""
    lock = LOCKS / f"{name}.txt"
    pins = resolve(name, uv)
    LOCKS.mkdir(exist_ok=True)
    lock.write_text(pins)
    return f"{lock.relative_to(ENVS.parent)}: {len(pins.splitlines())} packages"


def main(names: list[str], uv: Path) -> int:
    """Lock the named environments; return 1 if any has no solution, else 0."""
    status = 0
    names = names or sorted(file.stem for file in ENVS.glob("*.yaml"))
    with ThreadPoolExecutor() as pool:
        for job in [pool.submit(write_lock, name, uv) for name in names]:
            try:
                print(job.result(), flush=True)
            except Failure as failure:
                print(f"Error: {failure}", file=sys.stderr)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(sys.executable).with_name("uv")))
