"""Run all sections, print the table and one final line of JSON; exit with 1 if a part failed.

usage: python -m benchmarks.gpu [full | small] [SECTION ...]
(default: full with a GPU, else small; all sections)

This process imports only the standard library. Sections run in this interpreter, SFT in its own
environment if that exists under .venvs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu.report import BEGUN, FAILED, Line, summary, table

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / "results" / "gpu"
LAST_LINES = 25  # of the log of a section that failed
PROBE_LIMIT = 40  # seconds
CPU_FACTOR = 5  # a CPU gets so many times a section's limit, as others may use it


class Section(NamedTuple):
    """A module with parts, its time limit, and its environment if it has one of its own."""

    name: str
    module: str
    limit: float  # seconds
    environment: str | None = None  # its name in envs/, without -cuda


SECTIONS = (
    Section("gradients", "benchmarks.gpu.gradients", 130),
    Section("step", "benchmarks.gpu.step", 110),
    Section("extraction", "benchmarks.gpu.extraction", 60),
    Section("reader", "benchmarks.gpu.reader", 50),
    Section("analysis", "benchmarks.gpu.analysis", 60),
    Section("GRPO", "benchmarks.gpu.grpo", 60),
    Section("SFT", "benchmarks.gpu.sft", 80, "sft"),
)  # with PyTorch's import and the machine's description, below ten minutes


def interpreter(environment: str | None, device: str) -> str:
    """Return the Python of a section's environment for the device if there is one, else this."""
    name = f"{environment}-cuda" if device == "cuda" else str(environment)
    path = ROOT / ".venvs" / name / "bin" / "python"
    return str(path) if path.exists() else sys.executable


def variables() -> dict[str, str]:
    """Return this process's variables for a section: it imports the library and tests' models."""
    added = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, added)), "HF_HUB_OFFLINE": "1"}


def run(section: Section, device: str, size: str, logs: Path) -> list[Line]:
    """Run a section; return a line for each part, also of one that it did not survive."""
    log = logs / f"{section.name}.log"
    limit = section.limit if device == "cuda" else CPU_FACTOR * section.limit
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, log.open("w") as output:
        file = Path(folder) / "lines.jsonl"
        python = interpreter(section.environment, device)
        command = [
            *(python, "-m", "crosslens.workflow.processes"),  # ends what it leaves behind
            *(python, "-m", "benchmarks.gpu.section"),
            *(section.module, device, size, str(file)),
        ]
        process = subprocess.Popen(
            command, cwd=folder, env=variables(), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            ended = f"the process ended with status {process.wait(limit)}"
        except subprocess.TimeoutExpired:
            ended = f"over the section's limit of {limit:g} s"
            process.terminate()
            process.wait()
        records = file.read_text().splitlines() if file.exists() else []
    lines = read(section.name, records, ended, time.monotonic() - started)
    if any(line.outcome == FAILED for line in lines):
        tail = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        print(f"\n{section.name}, the end of {log}:", *tail, sep="\n", flush=True)
    return lines


def read(section: str, records: list[str], ended: str, seconds: float) -> list[Line]:
    """Return the lines of a section's records; a part that began and did not end has failed."""
    found = [json.loads(record) for record in records]
    done = [Line(section, **record) for record in found if record["outcome"] != BEGUN]
    if not found:
        return [Line(section, "start", FAILED, ended, seconds)]
    last = found[-1]
    if last["outcome"] == BEGUN and (last["part"] != "start" or not done):
        done.append(Line(section, last["part"], FAILED, ended, seconds))
    return done


def probe() -> dict:
    """Return which GPU PyTorch finds, and what the machine is; or why PyTorch does not start."""
    command = [sys.executable, "-m", "benchmarks.gpu.probe"]
    try:
        found = subprocess.run(
            command, env=variables(), capture_output=True, text=True, timeout=PROBE_LIMIT
        )
    except subprocess.TimeoutExpired:
        return {"error": f"PyTorch did not start within {PROBE_LIMIT} s"}
    if found.returncode:
        return {"error": found.stderr.strip().rpartition("\n")[2]}
    return json.loads(found.stdout.strip().rpartition("\n")[2])


def main(size: str, sections: tuple[Section, ...] = SECTIONS, logs: Path = LOGS) -> int:
    """Run the sections, print the report and return the exit status."""
    started = time.monotonic()
    found = probe()
    device = "cuda" if found.get("gpu") else "cpu"
    size = size or ("full" if device == "cuda" else "small")
    print(f"# GPU checks\n\n{found.get('machine', found.get('error'))}\n", flush=True)
    if "error" in found or (size == "full" and device == "cpu"):
        print(json.dumps({"passed": False, "error": found.get("error", "full needs a GPU")}))
        return 1
    if device == "cpu":
        print("PyTorch finds no GPU: this is the reduced form, on the CPU. Nothing met a GPU.\n")
    logs.mkdir(parents=True, exist_ok=True)
    lines = []
    for section in sections:
        print(f"{section.name} ...", flush=True)
        lines += run(section, device, size, logs)
    seconds = time.monotonic() - started
    print(f"\n{table(lines)}\n")
    report = {"gpu": found["gpu"], "size": size, "seconds": round(seconds, 1)} | summary(lines)
    print(json.dumps(report), flush=True)
    return 0 if report["passed"] else 1


def chosen(names: list[str]) -> tuple[Section, ...]:
    """Return the sections of these names, or all. Exits with a message for an unknown name."""
    known = {section.name: section for section in SECTIONS}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"{unknown[0]}: not a section. Choose from {', '.join(known)}.")
    return tuple(known[name] for name in names) or SECTIONS


if __name__ == "__main__":
    sizes = [argument for argument in sys.argv[1:] if argument in ("full", "small")]
    names = [argument for argument in sys.argv[1:] if argument not in sizes]
    sys.exit(main(sizes[0] if sizes else "", chosen(names)))
