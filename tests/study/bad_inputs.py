"""Invalid inputs, the error message of each, and when it is reported; writes docs/bad-input.md.

    python tests/study/bad_inputs.py

runs every case with the real Snakefile (test_bad_input.py does too, and compares).
"""

import copy
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from conftest import ENVIRONMENT, MINI, ROOT, Study, forked

DOCS = ROOT / "docs" / "bad-input.md"
BEFORE = "before any job"
PROBLEM = {"problem": "1 + 1", "answer": "2", "source": "here"}
HEAD = """# Error messages for invalid input

For users who meet an error message, or who ask what is checked. A message names a key, file or
value, then the problem, then what to do.

"Before any job" means while Snakemake reads the configuration, within a second or two. In other
cases the table names the rule whose job reports the error. The log of the job has the message, too.

`tests/study/test_bad_input.py` runs each case with the real Snakefile. Each case changes
`mini.yaml`. `.venvs/workflow/bin/python tests/study/bad_inputs.py` generates the table from the
output.

| kind | invalid input | reported | message |
|---|---|---|---|
"""


def base() -> dict[str, Any]:
    """Return the mini study, with sizes that the table can count on."""
    config = copy.deepcopy(MINI)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
    config["world"]["model"].update(hidden_size=64, num_hidden_layers=4, **heads)
    config["world"].update(problems=640)
    config["sft"].update(batch_size=8, micro_batch_size=4)
    lengths = {"max_prompt_length": 96, "max_response_length": 96, "tokens_per_device": 24576}
    config["grpo"].update(batch_size=32, mini_batch_size=16, **lengths)
    return config


class Case(NamedTuple):
    """A wrong input: how to make it, with which command line."""

    kind: str
    what: str
    make: Callable[[Study], Any]
    arguments: tuple[str, ...] = ("--dry-run",)
    prefix: tuple[str, ...] = ()


def value(key: str, wrong: Any, what: str = "", kind: str = "config") -> Case:
    """Describe a key with a wrong value."""
    return Case(kind, what or f"`{key}: {wrong}`", lambda study: study.change(key, wrong))


def gpus(rule: str, count: int, *change: Any) -> Case:
    """Describe GPUs that do not fit a batch, next to another changed key."""

    def make(study: Study) -> None:
        study.change(f"resources.{rule}", {"gpu": count})
        if change:
            study.change(*change)

    other = " and `{}: {}`".format(*change) if change else ""
    return Case("resources", f"`resources.{rule}.gpu: {count}`{other}", make)


def without(key: str, what: str = "") -> Case:
    """Describe a key that is left out."""

    def make(study: Study) -> None:
        *path, last = key.split(".")
        section = study.config
        for name in path:
            section = section[name]
        del section[last]

    return Case("config", what or f"`{key}` left out", make)


def rows(key: str, what: str, *given: dict) -> Case:
    """Describe a data file with wrong rows."""
    return Case("data", what, lambda study: study.change(key, study.rows("rows.jsonl", *given)))


def text(key: str, what: str, content: bytes) -> Case:
    """Describe a data file with wrong content."""

    def make(study: Study) -> None:
        (study.folder / "file.jsonl").write_bytes(content)
        study.change(key, "file.jsonl")

    return Case("data", what, make)


def model(what: str, spoil: Callable[[Path], Any], key: str = "families.tiny.base") -> Case:
    """Describe a model directory with a fault."""

    def make(study: Study) -> None:
        study.model("base")
        spoil(study.folder / "base")
        study.change(key, "base")

    return Case("model", what, make)


def tokenizers(study: Study) -> None:
    """Give a variant another tokenizer than base."""
    study.model("base")
    study.model("results/mini/models/tiny/rl-3", words="a c")
    study.change("families.tiny.base", "base")


def short_prompts(study: Study) -> None:
    """Set a limit that no prompt keeps: known when base's tokenizer reads the problems."""
    study.change("grpo.max_prompt_length", 20)
    study.change("world.base.steps", 10)


def unreadable(study: Study) -> None:
    """Make a file that cannot be read."""
    study.change("problems.sources.world", study.rows("secret.jsonl", PROBLEM))
    (study.folder / "secret.jsonl").chmod(0)


def written(content: str) -> Callable[[Study], None]:
    """Another configuration file, wrong.yaml."""
    return lambda study: (study.folder / "wrong.yaml").write_text(content) and None


def configured(what: str, content: str) -> Case:
    """Describe a configuration file with wrong content."""
    return Case("config", what, written(content), ("--dry-run", "--configfile", "wrong.yaml"))


def nothing(study: Study) -> None:
    """Change nothing: the input is right, and the command line is not."""


# root may read everything: it gives up that right
AS_ANYONE = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")

CASES = [
    value("crosscoder.d_spars", 64),
    value("crosscodr", {}),
    without("corpus.tokens"),
    without("figures"),
    without("world", "`world` left out, and files of it in use"),
    value("grpo.rollouts", "eight"),
    value("sft.learning_rate", "1e-3", '`sft.learning_rate: "1e-3"`'),
    value("crosscoder.beta", -1),
    value("crosscoder.beta", float("nan")),
    value("crosscoder.learning_rate", float("inf")),
    value("sft", 5),
    value("sft.bf16", "maybe"),
    value("seed", 1.5),
    value("study", "../elsewhere"),
    value("study", "a; rm -rf b"),
    value("families.Tiny", {"label": "T", "base": "b"}),
    value("world.architecture", "gpt2"),
    value("grpo.engine", "trlx"),
    value("activations.layer", "last"),
    value("activations.layer", 9),
    value("evaluation.tasks", []),
    value("evaluation.tasks", ["sciq", "sciq"]),
    value("evaluation.heldout_tasks", ["logiqa", "piqa", "sciq"]),
    value("evaluation.files.piqua", "p.jsonl"),
    value("evaluation.backend", "sglang"),
    value("evaluation.vllm_engine", {"max_model_len": 4096}),
    value("grpo.mini_batch_size", 5),
    value("sft.micro_batch_size", 3),
    value("world.model.num_key_value_heads", 3),
    value("world.problems", 9),
    value("world.problems", 40),
    value("world.base.sequence_length", 513),
    value("corpus.sequence_length", 513),
    value("corpus.tokens", 400000),
    value("problems.expected_count", [9, 2]),
    value("grpo.tokens_per_device", 100),
    value("sft.deepspeed", "zero3"),
    value("figures.families", ["tiny", "tiny", "tin"]),
    value("resources.train_crosscoder", {"gpu": 1}, kind="resources"),
    value("resources.tabulate_accuracy", {"gpu": 1}, kind="resources"),
    value("resources.train_grpo", {"gpus": 8}, kind="resources"),
    Case(
        "resources",
        "`resources.train_grpo.gpu: 8` and `--resources gpu=4`",
        lambda study: study.change("resources.train_grpo", {"gpu": 8}),
        ("--dry-run", "--resources", "gpu=4"),
    ),
    gpus("train_sft", 6),
    gpus("train_sft", 8, "sft.micro_batch_size", 4),
    gpus("train_grpo", 6, "grpo.device", "cuda"),
    configured("a key given twice", "study: a\nseed: 0\nseed: 1\n"),
    configured("an empty configuration file", ""),
    value("traces.teacher", "teacher", kind="model"),
    value("families.tiny.base", "Org/Model-1B", kind="model"),
    value("families.tiny.base", "results/other/world/base", kind="model"),
    value("families.tiny.base", "results/mini/world/bas", kind="model"),
    model("a model without `config.json`", lambda path: (path / "config.json").unlink()),
    model("a `config.json` cut short", lambda path: (path / "config.json").write_text("{")),
    model("a model without weights", lambda path: (path / "model.safetensors").unlink()),
    Case("model", "a variant whose tokenizer is not the base model's", tokenizers),
    value("problems.sources.world", "p.jsonl", kind="data"),
    rows("problems.sources.world", "problems without a column", {"prompt": "1 + 1", "source": ""}),
    text("problems.sources.world", "an empty file of problems", b""),
    text("problems.sources.world", "problems that are not JSON", b"problem,answer\n1 + 1,2\n"),
    text("problems.sources.world", "problems that are not text", b"\x93NUMPY\xff\xfe\n"),
    Case("data", "a file that cannot be read", unreadable, prefix=AS_ANYONE),
    value("evaluation.files.piqa", "p.jsonl", kind="data"),
    rows(
        "evaluation.files.piqa", "a benchmark without a column", {"goal": "open it", "sol1": "key"}
    ),
    value("corpus.sources.general", "g.jsonl", kind="data"),
    rows("corpus.sources.general", "a corpus without text", {"words": "a b"}),
    Case(
        "data",
        "`grpo.max_prompt_length: 20`",
        short_prompts,
        ("--", "results/mini/data/prompts/tiny.json"),
    ),
    Case(
        "command line", "`--config crosscodr=1`", nothing, ("--dry-run", "--config", "crosscodr=1")
    ),
    Case("command line", "`snakemake tabel1`", nothing, ("--dry-run", "--", "tabel1")),
]


def told(output: str) -> tuple[str, str]:
    """When a run of Snakemake failed, and the one line it said.

    The line is ours, or else the last of Snakemake's own message. Raises AssertionError where
    there are several of ours or a traceback.
    """
    assert "Traceback" not in output, output
    ours = set(re.findall(r"^Error: (.*)$", output, re.MULTILINE))
    assert len(ours) <= 1, output
    rule = re.search(r"^Error in rule (\w+):", output, re.MULTILINE)
    lines = [
        line for line in output.splitlines() if line.strip() and ("Error: " in line or not ours)
    ]
    return rule[1] if rule else BEFORE, ours.pop() if ours else lines[-1].strip()


def run(case: Case, folder: Path) -> tuple[str, str]:
    """Run Snakemake on a wrong input in a folder; when it failed, and its line."""
    study = Study(folder, base())
    case.make(study)
    command = [*case.prefix, *study.command("--cores", "1", *case.arguments)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | ENVIRONMENT,
        cwd=folder,
    )
    return checked(case, done.returncode, done.stdout + done.stderr)


def fork(case: Case, folder: Path) -> tuple[str, str]:
    """Do the same in a process forked from this one, which has imported Snakemake already."""
    study = Study(folder, base())
    case.make(study)
    done = forked(study.command("--cores", "1", *case.arguments), folder)
    return checked(case, done.returncode, done.stdout)


def checked(case: Case, status: int, output: str) -> tuple[str, str]:
    """Return the message of a refused case."""
    assert status, f"{case.what} is taken: {output}"
    return told(output)


def run_all(cases: list[Case]) -> Iterator[tuple[str, str]]:
    """Run cases one after the other."""
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            alone = case.prefix or "--dry-run" not in case.arguments  # jobs start others
            yield (run if alone else fork)(case, Path(folder))


def row(case: Case, when: str, line: str) -> str:
    """One row of the table."""
    cells = (case.kind, case.what, when, f"`{line}`")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    DOCS.parent.mkdir(exist_ok=True)
    with DOCS.open("w", buffering=1) as page:
        page.write(HEAD)
        for case, said in zip(CASES, run_all(CASES), strict=True):
            page.write(f"{row(case, *said)}\n")
