"""Run the real Snakefile on a configuration, in a directory of its own."""

import copy
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pytest
import snakemake.cli
import yaml

if TYPE_CHECKING:
    from given import Finished

ROOT = Path(__file__).resolve().parents[2]
MINI = yaml.safe_load((ROOT / "mini.yaml").read_text())
# Studies of these tests lie in other folders and pretrain the models that mini.yaml has ready.
MINI["families"]["tiny"]["base"] = "results/mini/world/base"
MINI["traces"]["teacher"] = "results/mini/world/teacher"
# A benchmark of the hub, so that the graph has the rules that take it from there.
HUB_PIQA = {"dataset": "org/piqa", "revision": "0" * 40, "files": "*.jsonl"}
TINY = yaml.safe_load((ROOT / "tests" / "config" / "tiny.yaml").read_text())

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


class Study:
    """A working directory with one configuration, and the project that runs it."""

    def __init__(self, folder: Path, config: dict[str, Any], root: Path = ROOT) -> None:
        self.folder = folder
        self.root = root
        self.snakefile = root / "Snakefile"
        self.config = copy.deepcopy(config)

    def change(self, key: str, value: Any) -> None:
        """Set a key given with dots."""
        section = self.config
        *path, last = key.split(".")
        for name in path:
            section = section.setdefault(name, {})
        section[last] = value

    def model(self, name: str, *, layers: int = 4, words: str = "a b", **fields: Any) -> Path:
        """Write a model directory as far as it can be judged before it is loaded."""
        path = self.folder / name
        path.mkdir(parents=True)
        (path / "config.json").write_text(json.dumps({"num_hidden_layers": layers, **fields}))
        (path / "model.safetensors").touch()
        (path / "chat_template.jinja").write_text("{{ messages }}")
        vocabulary = {word: i for i, word in enumerate(words.split())}
        (path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
        return path

    def rows(self, name: str, *rows: dict) -> str:
        """Write a file with one JSON object a line."""
        (self.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return name

    def command(self, *arguments: str, profile: str = "default") -> list[str]:
        """Return the command that runs Snakemake in the working directory."""
        file = self.folder / "config.yaml"
        file.write_text(yaml.safe_dump(self.config, sort_keys=False))
        return [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(self.snakefile)),
            *("--workflow-profile", str(self.root / "profiles" / profile)),
            *("--directory", str(self.folder), "--configfile", str(file), *arguments),
        ]

    def start(
        self, *arguments: str, profile: str = "default", output: Any = subprocess.PIPE
    ) -> subprocess.Popen:
        """Start Snakemake in the working directory; its output is both streams together."""
        return subprocess.Popen(
            self.command(*arguments, profile=profile),
            cwd=self.folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | ENVIRONMENT,
        )

    def snakemake(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess:
        """Run Snakemake to its end; of this checkout in a fork, which need not import it again."""
        if self.root != ROOT:
            with self.start(*arguments, **options) as process:
                output, _ = process.communicate()
            return subprocess.CompletedProcess(process.args, process.returncode, output)
        return forked(self.command(*arguments, **options), self.folder)


FORK = multiprocessing.get_context("fork")


def forked(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    """Run a command of `Study.command` in a fork of this process, which has imported Snakemake."""
    with tempfile.TemporaryFile("w+") as output:
        process = FORK.Process(target=run_snakemake, args=(command, folder, output))
        process.start()
        process.join()
        output.seek(0)
        return subprocess.CompletedProcess(command, process.exitcode, output.read())


def run_snakemake(command: list[str], folder: Path, output: TextIO) -> None:
    """Do in this process what the command does in one of its own."""
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1)  # one, which keeps their order
    os.chdir(folder)
    os.environ |= ENVIRONMENT
    sys.argv = command[2:]
    snakemake.cli.main()


def jobs(output: str) -> dict[str, int]:
    """Return the table of jobs by rule in Snakemake's output."""
    table = re.search(r"^job +count\n[- ]+\n(.*?)^total", output, re.MULTILINE | re.DOTALL)
    lines = table[1].splitlines() if table else []
    return {rule: int(count) for rule, count in (line.split() for line in lines)}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Return the mini study in an empty directory, with the sizes that tests count on."""
    study = Study(tmp_path, MINI)
    study.config["world"]["model"].update(num_hidden_layers=4)
    study.config["sft"].update(batch_size=8, micro_batch_size=4)
    study.config["grpo"].update(batch_size=32, mini_batch_size=16)
    return study


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> "Finished":
    """Run a study of given models to its end once, for all tests that compare with it."""
    from given import finished  # which imports from here

    return finished(tmp_path_factory.mktemp("undisturbed"))
