"""Every table and figure of the paper, by number, and each family by name, is a target."""

import pytest
from conftest import Study, jobs

FAMILIES = {"first": "First-1B", "second-2.5": "Second 2.5", "third": "Third"}
PER_FAMILY = {
    "import_model": 1,
    "train_sft": 1,
    "count_prompts": 1,
    "train_grpo": 1,
    "evaluate_model": 3,
    "tokenize_corpus": 1,
    "start_family": 1,
    "extract_activations": 3 * (2 + 1),
    "count_tokens": 1,
    "train_crosscoders": (3 + 1) * 2,
    "evaluate_crosscoder": 10 + 1 + 3,
    "score_specificity": 1,
    "measure_overlap": 1,
    "measure_rank_shifts": 1,
    "find_critical_samples": 1,
    "score_features": 2,
    "select_features": 2,
    "answer_questions": 1,
    "intervene": 5,
    "assess_interventions": 1,
    "measure_splice": 1,
    "measure_gap": 1,
    "collect_feature_cards": 1,
    "write_feature_page": 1,
}
TRAINING = {"import_model": 1, "train_sft": 1, "count_prompts": 1, "train_grpo": 1}
PAIRS = TRAINING | {
    "tokenize_corpus": 1,
    "start_family": 1,
    "extract_activations": 3 * 2 + 3,
    "train_crosscoders": 3 * 2,
    "evaluate_crosscoder": 12,
}


@pytest.fixture
def three(study: Study) -> Study:
    """Return a study of three families and two shards, with one other seed."""
    study.change("crosscoder.extra_seeds", 1)
    study.change("crosscoder.evidence", [])
    base = study.config["families"]["tiny"]["base"]
    entries = {name: {"label": label, "base": base} for name, label in FAMILIES.items()}
    study.change("families", entries)
    study.change("figures.families", list(FAMILIES))
    study.change("activations.shards", 2)
    return study


def planned(study: Study, *targets: str) -> dict[str, int]:
    """Jobs by rule for some targets, without the world and the training data they share."""
    done = study.snakemake("--dry-run", "--cores", "2", "--quiet", "rules", "--", *targets)
    assert done.returncode == 0, done.stdout
    shared = ("build_world", "pretrain_base", "pretrain_teacher", "generate_traces")
    data = ("prepare_problems", "filter_traces")
    return {r: n for r, n in jobs(done.stdout).items() if r not in (*shared, *data, *targets)}


def times(count: int, table: dict[str, int]) -> dict[str, int]:
    """Return a table of jobs for several families."""
    return {rule: count * jobs for rule, jobs in table.items()}


def test_every_figure_and_table_is_a_target(three: Study) -> None:
    targets = [f"figure{n}" for n in range(1, 14)] + [f"table{n}" for n in range(1, 6)]
    targets += ["controls", "dose-curves"]
    done = three.snakemake("--dry-run", "--cores", "2", "--quiet", "rules", "--", *targets)
    assert done.returncode == 0, done.stdout
    assert {target: jobs(done.stdout).get(target) for target in targets} == dict.fromkeys(
        targets, 1
    )
    assert "write_report" not in jobs(done.stdout)


def test_figure_2_needs_the_pairs_of_two_families(three: Study) -> None:
    expected = PAIRS | {"score_specificity": 1, "measure_overlap": 1}
    # The trios are scored with the pairs, so they are trained as well.
    expected |= {"train_crosscoders": 4 * 2, "evaluate_crosscoder": 14}
    assert planned(three, "figure2") == times(2, expected) | {"draw_figure": 1}


def test_table_1_needs_no_crosscoder(three: Study) -> None:
    expected = times(3, TRAINING | {"evaluate_model": 3}) | {"tabulate_accuracy": 1}
    assert planned(three, "table1") == expected


def test_cards_are_exported_on_request(three: Study) -> None:
    count = planned(three, "features_export")
    assert count["export_features"] == count["collect_feature_cards"] == 3
    assert not {"write_report", "intervene", "write_feature_page"} & set(count)


def test_one_family_alone(three: Study) -> None:
    figures = {"first": 3, "second-2.5": 3, "third": 4}
    for family in FAMILIES:
        expected = PER_FAMILY | {"draw_figure": figures[family]}
        assert planned(three, family) == expected


def test_a_family_called_as_a_rule(study: Study) -> None:
    study.change("families.all", {**study.config["families"]["tiny"], "label": "All"})
    done = study.snakemake("--dry-run", "--cores", "1")
    assert "Error: families.all: a target has this name. Rename the family." in done.stdout
