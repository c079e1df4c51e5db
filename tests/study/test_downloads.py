"""`snakemake downloads`: all of the hub, once with network, then from the cache alone."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import Study
from local_hub import COMMIT, serve

PIQA = [{"goal": "open it", "sol1": "key", "sol2": "spoon", "label": i % 2} for i in range(3)]
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """Write a benchmark and a corpus as the hub has them."""
    for name, rows in {"piqa": PIQA, "text": [{"text": "a b"}]}.items():
        folder = tmp_path / "hub" / "datasets" / "org" / name
        folder.mkdir(parents=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "validation.jsonl").write_text(text)
        (folder / "README.md").write_text("no data")
    return tmp_path / "hub"


def test_all_of_the_hub_is_had_once_and_needs_no_network_again(
    tmp_path: Path, study: Study, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = {"revision": COMMIT, "files": "*.jsonl"}
    study.change("evaluation.files.piqa", {"dataset": "org/piqa", **source})
    study.change("corpus.sources.general", {"dataset": "org/text", **source})
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    arguments = ("--cores", "2", "--sdm", "env-modules", "--", "downloads")
    with serve(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        done = study.snakemake(*arguments)
    assert done.returncode == 0, done.stdout
    size = (hub / "datasets" / "org" / "piqa" / "validation.jsonl").stat().st_size
    results = tmp_path / "results" / "mini"
    record = json.loads((results / "downloads" / "evaluation.files.piqa.json").read_text())
    assert (record["licence"], record["files"]) == ("mit", {"validation.jsonl": size})
    for row in (r"evaluation.files.piqa +org/piqa +mit +no", "corpus.sources.general", "in all: 0"):
        assert re.search(f"^{row}", done.stdout, re.MULTILINE), done.stdout
    made = results / "data" / "benchmarks" / "piqa.jsonl"
    assert [json.loads(line) for line in made.read_text().splitlines()] == PIQA
    assert len((results / "downloads.csv").read_text().splitlines()) == 3

    shutil.rmtree(results)
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    again = study.snakemake(*arguments)
    assert again.returncode == 0, again.stdout
    assert len(made.read_text().splitlines()) == len(PIQA)


def test_a_model_without_the_chat_template_that_it_needs_is_refused(
    tmp_path: Path, study: Study, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as it is downloaded; and then before anything else, whatever is started."""
    folder = hub / "models" / "org" / "base"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    study.change("families.tiny.base", "org/base")
    study.change("families.tiny.revision", COMMIT)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    refusal = "families.tiny.base: the tokenizer of org/base has no chat template"
    arguments = ("--cores", "1", "--sdm", "env-modules", "--", "downloads")
    with serve(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        done = study.snakemake(*arguments)
    assert done.returncode == 1 and refusal in done.stdout
    done = study.snakemake("--dry-run", "--cores", "1")
    assert done.returncode == 1 and f"\nError: {refusal}" in done.stdout, done.stdout
    assert "Building DAG" not in done.stdout
    given = [{"model": "org/base", "revision": COMMIT}]
    entry = {"label": "Tiny", "base": "org/base", "revision": COMMIT, "sft": given, "rl": given}
    study.change("families.tiny", entry)
    for task in study.config["evaluation"].pop("math"):
        del study.config["evaluation"]["files"][task]
    study.change("evaluation.math", {})
    study.change("problems.exclude", {})
    done = study.snakemake("--dry-run", "--cores", "1")  # no model of this study needs one
    assert done.returncode == 0, done.stdout


def test_a_limit_is_drawn_once_for_all_rules(study: Study) -> None:
    """The user's own files are not changed: each rule reads the drawn questions."""
    study.change("evaluation.limit", 20)
    done = study.snakemake("--dry-run", "--cores", "1")
    assert done.returncode == 0, done.stdout
    for rule in ("evaluate_model", "answer_questions"):
        block = done.stdout.partition(f"rule {rule}:")[2].partition("output:")[0]
        assert block.count("results/mini/data/benchmarks/") == 10, rule
        assert "world/benchmarks" not in block
    block = done.stdout.partition("rule prepare_benchmark:")[2].partition("output:")[0]
    assert "results/mini/world/benchmarks/" in block


def test_evaluation_reads_local_files_only(study: Study) -> None:
    """A task of the hub is a file that prepare_benchmark makes; the hub is asked by one rule."""
    source = {"dataset": "org/piqa", "revision": COMMIT, "files": "*.jsonl"}
    study.change("evaluation.files.piqa", source)
    done = study.snakemake("--dry-run", "--cores", "1")
    assert done.returncode == 0, done.stdout
    made = "results/mini/data/benchmarks/piqa.jsonl"
    for rule in ("evaluate_model", "answer_questions"):
        block = done.stdout.partition(f"rule {rule}:")[2].partition("output:")[0]
        assert made in block, rule
    block = done.stdout.partition("rule prepare_benchmark:")[2].partition("output:")[0]
    assert "results/mini/downloads/evaluation.files.piqa.json" in block
