"""The paper's hyperparameters, section by section, where the study's own code reads them."""

from pathlib import Path

import pytest
import yaml

from crosslens.config.sections import CrosscoderConfig
from crosslens.crosscoder.schedules import make_plan

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
HASH = 40  # digits of a commit


def test_section_4_and_appendix_b2_the_three_families() -> None:
    bases = {name: entry["base"] for name, entry in CONFIG["families"].items()}
    assert list(bases.values()) == [
        "Qwen/Qwen3-4B-Base",
        "Qwen/Qwen2.5-7B",
        "meta-llama/Llama-3.1-8B-Instruct",
    ]
    assert CONFIG["figures"]["families"] == list(bases)


def test_every_model_and_data_set_of_the_hub_is_pinned() -> None:
    named = [
        *CONFIG["families"].values(),
        CONFIG["traces"],
        *CONFIG["problems"]["sources"].values(),
        *CONFIG["problems"]["exclude"].values(),
        *CONFIG["corpus"]["sources"].values(),
    ]
    revisions = [entry["revision"] for entry in named]
    assert len(set(revisions)) == 11
    assert all(len(commit) == HASH and int(commit, 16) for commit in revisions)


def test_appendix_a1_the_corpus_is_200_million_tokens_of_each_source() -> None:
    corpus, shards = CONFIG["corpus"], CONFIG["activations"]["shards"]
    assert [source["dataset"] for source in corpus["sources"].values()] == [
        "open-thoughts/OpenThoughts-114k",
        "togethercomputer/RedPajama-Data-1T-Sample",
    ]
    rows = corpus["tokens"] // 2 // corpus["sequence_length"]
    assert rows * corpus["sequence_length"] == 200_000_000
    assert 2 * rows % shards == 0  # and no sequence is left over between the shards


def test_appendix_a1_crosscoders() -> None:
    settings = CrosscoderConfig(**CONFIG["crosscoder"])
    tokens = CONFIG["corpus"]["tokens"] // CONFIG["activations"]["shards"]
    plan = make_plan(settings, rows=tokens, shards=CONFIG["activations"]["shards"], seed=0)
    assert settings.d_sparse == 32_768
    assert (plan.batch_size, plan.learning_rate, plan.beta) == (1024, 1.0e-4, 2.0)
    steps = plan.steps_per_shard * plan.shards
    assert steps == pytest.approx(400_000_000 / 1024, rel=1e-3)
    assert CONFIG["activations"]["layer"] == "middle"


def test_appendix_a2_problems_and_teacher() -> None:
    least, most = CONFIG["problems"]["expected_count"]
    assert least <= 47_000 <= most
    assert list(CONFIG["problems"]["sources"]) == ["math", "deepscaler"]
    assert set(CONFIG["problems"]["exclude"]) == {"math500", "aime24", "aime25"}
    assert CONFIG["traces"]["teacher"] == "Qwen/Qwen3-32B"


def test_section_4_and_appendix_a4_benchmarks() -> None:
    evaluation = CONFIG["evaluation"]
    assert evaluation["tasks"] == [
        *("openbookqa", "commonsense_qa", "headqa_en", "sciq", "arc_challenge"),
    ]
    assert evaluation["heldout_tasks"] == ["logiqa", "piqa"]  # appendix B.4
    repeats = {task: entry["repeats"] for task, entry in evaluation["math"].items()}
    assert repeats == {"math500": 3, "aime24": 10, "aime25": 10}


def test_sections_5_and_7_features_and_interventions() -> None:
    assert CONFIG["metrics"]["top_features"] == 50  # section 5.2
    assert CONFIG["generalization"]["score_fraction"] == 0.2  # section 7, experimental setup
    assert CONFIG["generalization"]["readout"] == "branch"  # section 3.2
    assert CONFIG["interventions"]["amplify_to"] == 3.0  # section 7.1
