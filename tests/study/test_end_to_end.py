"""One whole study, the smallest: the real Snakefile, LLaMA-Factory, verl and lm-eval.

Its models are Llamas from another seed than the mini study's Qwen3.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, TINY, Study, jobs

PARTS = [
    *("Snakefile", "rules", "scripts", "crosslens", "envs", "profiles", "schemas"),
]
NOTHING = "Nothing to be done"
ELSEWHERE = (
    *("download_source", "prepare_benchmark"),  # test_downloads runs them
    "generate_answers",  # by vLLM: tests/posttraining/vllm
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Run a study to its end, in a copy of the project that tests may edit."""
    root = tmp_path_factory.mktemp("project")
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, root / part)
    (root / ".venvs").symlink_to(ROOT / ".venvs")
    study = Study(tmp_path_factory.mktemp("study"), TINY, root=root)
    study.change("world.architecture", "llama")
    study.change("seed", 1)
    done = study.snakemake("--cores", "2")
    assert done.returncode == 0, done.stdout[-20000:]
    return study


@pytest.fixture
def results(finished: Study) -> Path:
    """Where the study's outputs are."""
    return finished.folder / "results" / "tiny"


def planned(study: Study) -> dict[str, int]:
    """Jobs by rule that a further run would do, without `all`."""
    done = study.snakemake("--dry-run", "--cores", "2")
    assert done.returncode == 0, done.stdout
    return {rule: count for rule, count in jobs(done.stdout).items() if rule != "all"}


def python(program: str, *arguments: Path) -> str:
    """Run a program in the analysis environment."""
    command = [ROOT / ".venvs" / "analysis" / "bin" / "python", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_figure_and_table_is_there(results: Path) -> None:
    for name in [
        *(f"figures/figure{number}" for number in range(1, 14)),
        *("figures/controls", "figures/dose-curves"),
        *(f"tables/table{number}" for number in range(1, 6)),
    ]:
        for kind in ("pdf", "png", "csv"):
            assert (results / f"{name}.{kind}").stat().st_size > 0, name


def test_the_report_is_one_self_contained_page(results: Path) -> None:
    page = (results / "report.html").read_text()
    for number in range(1, 14):
        assert re.search(rf"<h3>Figures? (\d+, )*{number}[.,]", page), number
    for number in range(1, 6):
        assert f"Table {number}" in page
    for link in ('src="http', 'href="http', "<link", 'src="figures'):
        assert link not in page


def test_the_summary_for_machines(results: Path) -> None:
    text = (results / "summary.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    summary = json.loads(text)
    assert {"families", "seconds", "training_data", "config"} <= summary.keys()
    used = {rule: packages.keys() for rule, packages in summary["versions"].items()}
    assert {"transformers", "torch"} <= used["generate_traces"]
    assert {"Python", "llamafactory", "torch"} <= used["train_sft"]
    assert {"Python", "verl", "torch"} <= used["train_grpo"]
    assert {"Python", "lm-eval", "torch"} <= used["evaluate_model"]
    assert {"Python", "snakemake", "torch"} <= used["write_report"]
    assert summary["commit"] == "unknown: not a git checkout"  # of the copy that the test made
    assert len(summary["verdicts"]) == 5 + 4, "the claims and the four primary hypotheses"
    family = summary["families"]["tiny"]
    assert {
        "accuracy",
        "critical",
        "crosscoders",
        "features",
        "interventions",
        "data_path",
        "specificity",
    } <= family.keys()
    assert set(family["accuracy"]) == {"base", "sft-5", "rl-5"}
    assert len(family["crosscoders"]) == 21
    assert set(family["interventions"]) == {"base", "rl-5"}


def test_five_checkpoints_of_each_paradigm_with_one_tokenizer(results: Path) -> None:
    folders = results / "models" / "tiny"
    variants = {path.name for path in folders.glob("*/")}
    assert variants == {
        *("base", "sft-matched"),
        *(f"{p}-{k}" for p in ("sft", "rl") for k in range(1, 6)),
    }
    variants -= {"sft-matched"}  # sft-5 itself, where SFT moved base less than RL did
    weights = {(folders / name / "model.safetensors").read_bytes() for name in variants}
    assert len(weights) == len(variants)


def test_shards_and_states_are_gone(results: Path) -> None:
    assert not list(results.glob("activations/*/*/shard-*/*.h5"))
    assert not list(results.glob("crosscoders/*/groups/*/states-*"))
    assert not list(results.rglob("*.tmp"))


def test_no_benchmark_item_is_in_a_training_text(results: Path) -> None:
    """Nothing is rigged: what the models are asked is in no text of SFT or GRPO."""
    program = """
import json, sys
from pathlib import Path
import pandas
sft = json.loads(Path(sys.argv[1], "sft", "traces.json").read_text())
texts = [turn["content"] for row in sft for turn in row["messages"]]
for prompt in pandas.read_parquet(Path(sys.argv[1], "grpo.parquet"))["prompt"]:
    texts += [turn["content"] for turn in prompt]
print(json.dumps(texts))
"""
    texts = json.loads(python(program, results / "data"))
    assert len(texts) > 40
    asked = set(questions(results / "world" / "benchmarks"))
    assert len(asked) > 100
    for question in asked:
        assert not any(question in text for text in texts), question


def questions(folder: Path) -> Iterator[str]:
    """Return the question of every benchmark item."""
    columns = ("problem", "Problem", "question_stem", "question", "qtext", "context", "goal")
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            yield from (row[column] for column in columns if len(row.get(column, "").split()) > 3)


def test_feature_cards_are_exported_on_request(finished: Study, results: Path) -> None:
    done = finished.snakemake("--cores", "1", "--", "features_export")
    assert done.returncode == 0, done.stdout
    assert jobs(done.stdout) == {"export_features": 1, "features_export": 1}
    export = results / "export" / "tiny"
    assert list((export / "delphi").rglob("*.safetensors"))
    assert len(list((export / "neuronpedia").rglob("source.jsonl"))) == 3  # one for each model


def test_every_job_left_its_log_and_its_benchmark(results: Path) -> None:
    for script in (ROOT / "scripts").glob("*.py"):
        if script.stem in ELSEWHERE:
            continue
        for folder, ending in (("logs", "log"), ("benchmarks", "tsv")):
            found = [*(results / folder).glob(f"{script.stem}*")]
            assert found, f"{folder} of {script.stem} ({ending})"


def test_nothing_is_to_be_done_afterwards(finished: Study) -> None:
    done = finished.snakemake("--dry-run", "--cores", "2")
    assert NOTHING in done.stdout, done.stdout


def test_deleting_one_figure_reruns_one_job(finished: Study, results: Path) -> None:
    figure = results / "figures" / "figure3.png"
    kept = figure.read_bytes()
    figure.unlink()
    assert sum(planned(finished).values()) == 1
    done = finished.snakemake("--cores", "2")
    assert done.returncode == 0, done.stdout
    assert len(figure.read_bytes()) == pytest.approx(len(kept), rel=0.01)
    assert NOTHING in finished.snakemake("--dry-run", "--cores", "2").stdout


def test_a_comment_in_the_library_reruns_nothing(finished: Study) -> None:
    module = finished.root / "crosslens" / "analysis" / "specificity.py"
    module.write_text(module.read_text() + "\n# A comment.\n")
    assert planned(finished) == {}


def test_code_in_the_library_reruns_what_depends_on_it(finished: Study) -> None:
    module = finished.root / "crosslens" / "analysis" / "specificity.py"
    text = module.read_text()
    module.write_text(text + "\nANSWER = 42\n")
    count = planned(finished)
    module.write_text(text)
    assert count["score_specificity"] == 1
    assert not count.keys() & {"pretrain_base", "train_sft", "train_grpo", "extract_activations"}


def test_snakemakes_own_report(finished: Study) -> None:
    done = finished.snakemake("--report", "snakemake-report.html")
    assert done.returncode == 0, done.stdout
    assert (finished.folder / "snakemake-report.html").stat().st_size > 0
