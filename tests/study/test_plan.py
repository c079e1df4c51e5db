"""`snakemake plan` agrees with the graph of jobs, with worked sizes, and with measured totals."""

import math
import re

import pytest
import yaml
from conftest import ROOT, TINY, Study, jobs

from crosslens.config import crosscoder_design, study_design
from crosslens.config.sections import ModelSource
from crosslens.config.study import StudyConfig, read_study
from crosslens.io.errors import InputError
from crosslens.workflow.cost_estimate import (
    crosscoder_size,
    disk_space,
    gpu_memory,
    gpu_time,
    job_counts,
    model_sizes,
    printed_plan,
    rates,
)

SMALL = yaml.safe_load((ROOT / "small.yaml").read_text())
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
PAPER = read_study(CONFIG)
LLAMA = model_sizes.Size(32, 4096, 8.03e9, 65_536, 128_256)


def dry_run(study: Study) -> dict[str, int]:
    """Jobs by rule in the graph."""
    done = study.snakemake("--dry-run", "--cores", "1", "--quiet", "rules")
    assert done.returncode == 0, done.stdout
    return jobs(done.stdout)


def test_the_paper_has_the_jobs_of_its_graph(tmp_path) -> None:
    """Three families, each with 11 models and one of matched drift; 10 pairs, the trio and two
    other seeds of both final pairs and of the trio, and 9 as evidence; 100 shards."""
    found = dry_run(Study(tmp_path, CONFIG))
    assert found == {
        "download_source": 21,
        "prepare_benchmark": 10,
        "import_model": 3,
        "prepare_problems": 1,
        "generate_traces": 48,
        "filter_traces": 1,
        "train_sft": 3,
        "count_prompts": 3,
        "train_grpo": 3,
        "generate_answers": 27,
        "evaluate_model": 9,
        "tokenize_corpus": 3,
        "match_drift": 3,
        "extract_activations": 3 * 4 * 101,
        "count_tokens": 3,
        "start_family": 3,
        "train_crosscoders": 3 * 9 * 100,
        "evaluate_crosscoder": 3 * 26,
        "score_specificity": 3,
        "measure_overlap": 3,
        "measure_rank_shifts": 3,
        "find_critical_samples": 3,
        "answer_questions": 3,
        "score_features": 12,
        "select_features": 12,
        "intervene": 27,
        "assess_interventions": 3,
        "measure_splice": 3,
        "measure_gap": 3,
        "collect_feature_cards": 3,
        "write_feature_page": 3,
        "draw_figure": 15,
        "draw_training_curves": 3,
        "tabulate_accuracy": 1,
        "tabulate_interventions": 4,
        "write_report": 1,
        "all": 1,
    }
    assert job_counts.jobs(PAPER) == found


def test_what_is_printed_is_the_mini_study(study: Study) -> None:
    done = study.snakemake("--cores", "1", "--", "plan")
    assert done.returncode == 0, done.stdout
    printed = dict(re.findall(r"^(\w+) +(\d+) +- +- ", done.stdout, re.MULTILINE))
    printed.pop("plan", None)
    assert {rule: int(number) for rule, number in printed.items()} == dry_run(study)
    assert not (study.folder / "results" / "mini" / "world").exists()


def test_given_models_are_not_trained(tmp_path) -> None:
    study = Study(tmp_path, TINY)
    for name in ("sft", "rl"):
        study.model(name)
    study.change("families.tiny.sft", ["sft"])
    study.change("families.tiny.rl", ["rl"] * 5)
    del study.config["problems"], study.config["traces"]
    study.change("crosscoder.extra_seeds", 2)
    study.change("crosscoder.evidence", [])
    read = read_study(study.config)
    family, settings = read.families["tiny"], read.crosscoder
    assert study_design.variants(family) == ["base", "sft-5", *(f"rl-{k}" for k in range(1, 6))]
    assert len(crosscoder_design.crosscoders(family, settings)) == 6 + 4 + 3
    read = crosscoder_design.group_models(family, settings)
    assert {name for name in read if "sft-5" in read[name]} == {"sft", "trio", "seed-1", "seed-2"}


def test_a_crosscoder_at_the_dense_limit() -> None:
    """Section "Crosscoder training step": 2.17 ms of products and 2.18 ms of Adam at d_model 2560,
    so 0.47 hours for 390,625 steps; reading and writing states comes on top."""
    size = model_sizes.Size(36, 2560, 4e9, 73_728, 151_936)
    count = crosscoder_size.weights(PAPER, size, 2)
    assert count == 2 * 2 * 2560 * 32768
    states = 2 * PAPER.activations.shards * rates.ADAM * count / rates.DISK / 3600
    found = gpu_time.crosscoder_hours(PAPER, size, 2) - states
    assert math.isclose(found, 390_625 * (2.17e-3 + 2.18e-3) / 3600, rel_tol=0.01)


def test_bytes_of_llamas_shards() -> None:
    """12 variants x 400 million tokens x 4096 dimensions x 2 bytes are 39 TB; two of 100 stay."""
    family = PAPER.families["llama-3.1-8b"]
    disk = disk_space.disk_of(PAPER, family, LLAMA)
    activations = 12 * 400e6 * 4096 * 2
    assert math.isclose(disk.all_shards, activations, rel_tol=0.01)
    window, shards = PAPER.activations.shards_on_disk, PAPER.activations.shards
    assert math.isclose(disk.rolling, activations * window / shards, rel_tol=0.01)
    slots = 14 * 2 + 3 * 3  # without evidence
    slots += 2 * (2 * 2 + 3) + 2 + 2 * 6  # BatchTopK and swapped rows, drift, checkpoints
    assert disk.crosscoders == slots * 2 * 4096 * 32768 * 4


def test_the_paper_fits_on_two_terabytes() -> None:
    found = disk_space.disks(PAPER)
    assert disk_space.peak(found, rolling=True, at_once=False) < 2e12
    assert 98e12 < disk_space.peak(found, rolling=False, at_once=True) < 101e12


def test_the_papers_extraction() -> None:
    """61 GPU-hours of computing, as predicted from the throughput of the truncated forward pass."""
    tokens = PAPER.corpus.tokens + PAPER.corpus.heldout_tokens
    hours = 0.0
    for name, family in PAPER.families.items():
        size = model_sizes.size_of(name, study_design.given(family)["base"], PAPER)
        writing = tokens * (2 * size.d_model + rates.ROW) / rates.DISK / 3600
        hours += 11 * (gpu_time.extraction_hours(PAPER, size) - writing)
    assert 58 < hours < 64


def on_card(config: dict, gpu: str) -> StudyConfig:
    return read_study(config | {"plan": {"gpu": gpu}})


def test_a_card_has_its_speed() -> None:
    """An H200 as measured: 790 TFLOP/s, 4.3 TB/s. On a slower card computing takes longer."""
    h200, a100 = rates.CARDS["h200"], rates.CARDS["a100-80"]
    assert math.isclose(h200.flops, 790e12) and math.isclose(h200.bandwidth, 4.3e12)
    size = model_sizes.SIZES["Qwen/Qwen3-4B-Base"]
    fast, slow = (gpu_time.splice_hours(on_card(CONFIG, g), size) for g in ("h200", "a100-80"))
    assert math.isclose(slow / fast, h200.peak / a100.peak) and 3 < slow / fast < 3.3


def test_memory_of_the_small_study_on_one_gpu() -> None:
    """494 million parameters: 7.9 GB of state; logits of 4,096 tokens: 8.7 GB. Rollouts on 80 GB:
    5.9 GB of weights and Adam, and 0.4 for vLLM. A crosscoder: 2 x 3 x 896 x 16,384 weights."""
    gpus = dict.fromkeys(("train_sft", "train_grpo", "train_crosscoders", "evaluate_model"), 1)
    found = {rule: gb / 1e9 for rule, gb in gpu_memory.gpu_memory(read_study(SMALL), gpus).items()}
    state, logits = 16 * 0.494, 14 * 151_936 * 4096 / 1e9
    assert math.isclose(found["train_sft"], state + logits) and 16 < found["train_sft"] < 17
    assert math.isclose(found["train_grpo"], state + logits)
    assert math.isclose(found["train_crosscoders"], 12 * 2 * 3 * 896 * 16_384 / 1e9)
    assert math.isclose(found["evaluate_model"], 0.988 + 2 * 6144 * 32 * (120 + 2048) / 1e9)
    larger = gpu_memory.gpu_memory(on_card(SMALL, "a100-80"), gpus)["train_grpo"] / 1e9
    assert math.isclose(larger, 12 * 0.494 + 0.4 * 80)


def test_families_have_their_own_settings_and_several_gpus() -> None:
    """Llama's SFT: 16 bytes a parameter over 8 GPUs, and the logits of one trace, 33 GB."""
    found = gpu_memory.sft_memory(PAPER, "llama-3.1-8b", LLAMA, 8)
    assert math.isclose(found, 16 * 8.03e9 / 8 + 14 * 128_256 * 18_432)
    qwen = model_sizes.SIZES["Qwen/Qwen3-4B-Base"]
    found = gpu_memory.grpo_memory(on_card(CONFIG, "rtx4090"), "qwen3-4b", qwen, 8)
    assert math.isclose(found, 16 * 4.02e9 / 8 + 14 * 151_936 * 20_480)
    teacher = gpu_memory.gpu_memory(PAPER, {"generate_traces": 2})
    assert teacher == {"generate_traces": 32.8e9}


def test_a_job_that_is_larger_than_the_card_is_named() -> None:
    needs = {"train_sft": {"gpu": 1}, "extract_activations": {"gpu": 1}}
    sft = SMALL["sft"] | {"micro_batch_size": 16}
    lines = printed_plan.plan_text(on_card(SMALL | {"sft": sft}, "rtx4090"), needs).splitlines()
    warned = [line for line in lines if "but a GPU has" in line]
    assert warned == [
        "train_sft: about 42.8 GB, but a GPU has 24 (plan.gpu: rtx4090). Lower "
        "sft.micro_batch_size, or set sft.deepspeed: zero3 with more GPUs."
    ]
    assert "but a GPU has" not in printed_plan.plan_text(read_study(SMALL), needs)


def test_the_edits_of_the_paper() -> None:
    """100 of the primary set, 25 others, 60 of three more sets, 8 doses with 5 controls each, 33 of
    the paper's sets: 266; two other seeds and BatchTopK of 103; in base and RL. 23 in SFT."""
    assert gpu_time.arms(PAPER) == 2 * (266 + 3 * 103) + 23
    hours = gpu_time.gpu_hours(PAPER, job_counts.jobs(PAPER))
    protocol = sum(hours[rule] for rule in ("answer_questions", "score_features", "intervene"))
    assert protocol < 0.15 * (sum(hours.values()) - protocol)


def test_answers_through_vllm() -> None:
    """Llama on AIME24 once: 30 answers of 8,000 tokens. A step reads 16.06 GB at 2.58 TB/s, 6.2 ms,
    and takes 5 ms more; a token reads the 0.52 GB of half an answer, 0.2 ms. The longest answer has
    32,768 tokens. With transformers, one batch of 16,384 tokens at 30 ms."""
    evaluation = CONFIG["evaluation"] | {"math": {"aime24": {"repeats": 1}}}
    files = {t: f for t, f in evaluation["files"].items() if t not in ("math500", "aime25")}
    evaluation["files"] = files
    study = read_study(CONFIG | {"evaluation": evaluation})
    hours = gpu_time.answers_hours(study, LLAMA)
    assert math.isclose(hours * 3600, 32_768 * 11.2e-3 + 30 * 8000 * 0.203e-3, rel_tol=0.01)
    without = gpu_time.evaluation_hours(study, LLAMA)
    evaluation |= {"backend": "transformers", "vllm_engine": {}}
    study = read_study(CONFIG | {"evaluation": evaluation})
    assert gpu_time.answers_hours(study, LLAMA) == 0
    sampling = gpu_time.evaluation_hours(study, LLAMA) - without
    assert math.isclose(sampling * 3600, 16_384 * 0.03, rel_tol=0.01)


def test_a_size_that_nobody_knows() -> None:
    with pytest.raises(InputError, match="families.x.base: the size of org/name is not known"):
        model_sizes.size_of("families.x.base", ModelSource(model="org/name"), PAPER)


def test_a_plan_that_cannot_be_made_ends_with_the_reason(tmp_path) -> None:
    """Snakemake does not return from SystemExit in a `run` directive."""
    study = Study(tmp_path, TINY)
    study.change("families.tiny.base", "org/name")
    study.change("families.tiny.revision", "main")
    done = study.snakemake("--cores", "1", "--", "plan")
    assert done.returncode == 1
    assert "families.tiny.base: the size of org/name is not known" in done.stdout
