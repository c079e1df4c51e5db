"""The graph of jobs is the designed one, and every rule says what a job needs."""

import re
import runpy
from pathlib import Path

import pytest
from conftest import HUB_PIQA, MINI, ROOT, Study, jobs

CROSSCODERS = 10 + 1  # two paradigms x five checkpoints, and the trio
OTHER_SEEDS = 2 + 1  # the final pairs and the trio, for each of `extra_seeds`
GROUPS = 3  # those of SFT, of RL, and the trio
IMPERATIVES = {"Check", "Raise", "Return", "Yield"}  # first words of helpers' docstrings
ON_REQUEST = {"export_features"}  # not of the default target
EVIDENCE = 3 + 1  # of the mini study: rows of random order, matched drift


def rules() -> dict[str, str]:
    """Name and text of every rule in rules/*.smk but those that compute nothing."""
    found = {}
    for file in sorted(set((ROOT / "rules").glob("*.smk")) - {ROOT / "rules" / "plan.smk"}):
        for block in re.split(r"^(?=rule )", file.read_text(), flags=re.MULTILINE)[1:]:
            if "script:" in block:
                found[re.match(r"rule (\w+):", block)[1]] = block
    return found


RULES = rules()


def planned(study: Study, *arguments: str) -> str:
    """Output of a dry run."""
    done = study.snakemake("--dry-run", "--cores", "2", *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_jobs_of_the_mini_study(study: Study) -> None:
    output = planned(study)
    count = jobs(output)
    shards, seeds = MINI["activations"]["shards"], MINI["crosscoder"]["extra_seeds"]
    trained = CROSSCODERS + OTHER_SEEDS * seeds + EVIDENCE
    trained += OTHER_SEEDS * (1 + seeds)  # BatchTopK, of every seed
    expected = {
        "build_world": 1,
        "pretrain_base": 1,
        "pretrain_teacher": 1,
        "import_model": 1,
        "prepare_problems": 1,
        "generate_traces": MINI["traces"]["shards"],
        "filter_traces": 1,
        "train_sft": 1,
        "count_prompts": 1,
        "train_grpo": 1,
        "evaluate_model": 3,
        "tokenize_corpus": 1,
        "match_drift": 1,
        "extract_activations": 4 * (shards + 1),
        # Of evidence, one a kind, and one for each other seed of BatchTopK.
        "train_crosscoders": (GROUPS + seeds + 3 + seeds) * shards,
        "evaluate_crosscoder": trained,
        "select_features": 2 * (1 + seeds),
        "answer_questions": 1,
        "intervene": 2 * (1 + seeds + 1) + 1,  # one of BatchTopK; SFT for the first seed only
        "assess_interventions": 1,
        "measure_splice": 1,
        "measure_gap": 1,
        "collect_feature_cards": 1,
        "write_feature_page": 1,
        "write_report": 1,
    }
    assert {rule: count.get(rule) for rule in expected} == expected
    for name in (*(f"figure{number}" for number in range(1, 14)), "controls", "dose-curves"):
        assert f"results/mini/figures/{name}.pdf" in output
    for number in range(1, 6):
        assert f"results/mini/tables/table{number}.pdf" in output


def test_every_rule_of_the_default_target_is_in_the_graph(study: Study) -> None:
    study.change("evaluation.files.piqa", HUB_PIQA)
    study.change("evaluation.backend", "vllm")
    assert set(jobs(planned(study))) == {*RULES, "start_family", "all"} - ON_REQUEST


def test_jobs_multiply_with_families_shards_and_seeds(study: Study) -> None:
    study.change("families.other", {"label": "Other", "base": "results/mini/world/base"})
    study.change("activations.shards", 5)
    study.change("crosscoder.extra_seeds", 2)
    study.change("crosscoder.evidence", [])
    count = jobs(planned(study))
    assert count["build_world"] == 1
    assert count["train_sft"] == 2
    assert count["extract_activations"] == 2 * 3 * 6
    assert count["evaluate_crosscoder"] == 2 * (CROSSCODERS + 2 * OTHER_SEEDS)
    assert count["train_crosscoders"] == 2 * (GROUPS + 2) * 5


def test_the_other_engine_changes_the_environment_only(study: Study) -> None:
    before = jobs(planned(study))
    study.change("grpo.engine", "trl")
    assert jobs(planned(study)) == before


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_says_what_its_jobs_need(rule: str) -> None:
    text = RULES[rule]
    keys = ("output", "log", "benchmark", "conda", "envmodules", "resources", "script")
    missing = [key for key in keys if not re.search(rf"^    {key}:", text, re.MULTILINE)]
    assert not missing
    for resource in ("mem_mb", "runtime"):
        assert f"        {resource}=" in text
    assert f'"../scripts/{rule}.py"' in text
    assert re.search(rf'library_hash\(\s*"scripts/{rule}.py"', text)
    for folder in ("logs", "benchmarks"):
        assert re.search(rf'"<{folder}>/{rule}[/.]', text)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_states_no_default_and_no_path_of_its_own(rule: str) -> None:
    """Paths begin with a path variable, a file of the project, or come from an input function."""
    text = RULES[rule]
    assert not re.search(r"^    threads: 1$|gpu=0\b", text, re.MULTILINE)
    assert "results/" not in text and "{study}" not in text
    assert set(re.findall(r"<(\w+)>", text)) <= {"results", "logs", "benchmarks"}


def test_a_script_for_every_rule() -> None:
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} == set(RULES)


@pytest.mark.parametrize("file", sorted((ROOT / "rules").glob("*.smk")), ids=lambda path: path.stem)
def test_a_rule_file_opens_with_what_goes_in_and_out(file: Path) -> None:
    docstring = file.read_text().split('"""')[1]
    assert "INPUTS:" in docstring and "OUTPUTS:" in docstring


def test_a_helper_says_in_the_imperative_what_it_does() -> None:
    """As ruff's D401 does not: it reads no .smk file, and takes a noun for an imperative."""
    helper = re.compile(r'^def (\w+)\(.*?\):\n(?: +"""(\w+))?', re.MULTILINE | re.DOTALL)
    for file in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]:
        for name, first_word in helper.findall(file.read_text()):
            assert first_word in IMPERATIVES, f"{file.name}: {name}"


def test_the_linter_finds_nothing(study: Study) -> None:
    done = study.snakemake("--lint")
    assert done.returncode == 0, done.stdout


def test_the_page_has_the_graph_of_rules(study: Study) -> None:
    study.change("families.tiny.base", str(ROOT / "pretrained" / "base"))  # as mini.yaml has it
    study.change("traces.teacher", str(ROOT / "pretrained" / "teacher"))
    done = study.snakemake("--rulegraph", "mermaid-js")
    assert done.returncode == 0, done.stdout
    rulegraph = runpy.run_path(str(ROOT / "docs" / "rulegraph.py"))
    page = rulegraph["PAGE"].read_text()
    assert rulegraph["placed"](page, rulegraph["drawing"](done.stdout)) == page, "make rulegraph"
