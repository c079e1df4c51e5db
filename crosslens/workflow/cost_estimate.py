"""What a study will take, from its configuration alone: jobs, GPU-hours, wall time, disk, memory.

Estimates by arithmetic, with every assumption printed beside them. Rates are those of one NVIDIA
H200, measured where `ASSUMPTIONS` says so and assumed elsewhere. Nothing but Snakemake's own
environment is needed: neither data nor models are opened, but for a local model's config.json.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from crosslens.config import crosscoder_design, study_design
from crosslens.config.figure_list import FIGURES
from crosslens.config.locations import benchmark_files, downloads, is_synthetic, named_paths
from crosslens.config.model_compatibility import with_common_names
from crosslens.config.sections import CrosscoderConfig, FamilyConfig, ModelSource, TracesConfig
from crosslens.config.study import StudyConfig
from crosslens.config.workflow_checks import GPU_RULES
from crosslens.io.errors import InputError
from crosslens.io.records import read_json

FLOPS = 790e12  # bfloat16 matrix products, measured
BANDWIDTH = 4.3e12  # bytes a second of device memory, measured
DISK = 2e9  # bytes a second that a job reads or writes
START = 30  # seconds until a job's libraries and model are loaded
DECODE = 0.03  # seconds a token of a batch that transformers samples, for lm-eval
LONGEST = 0.5  # share of the longest allowed answer that a batch's longest takes
EXTRACTING, TRAINING, SAMPLING = 0.5, 0.35, 0.2  # shares of FLOPS that are reached
TRACE, ANSWER = 8000, 4000  # mean tokens of a teacher's trace, and of an answer
SOLUTION = 300  # mean tokens of a problem's own solution
KEPT = 0.7  # share of the traces that is right
QUESTIONS, CHOICES, QUESTION = 1500, 4, 120  # of one multiple-choice task; tokens of a prompt
MATH = {"math500": 500, "aime24": 30, "aime25": 30}  # problems
OTHER_MATH = 1000  # problems of any other set
BRANCH = 10  # tokens of a choice behind the prompt that it shares
ROW = 11  # bytes beside a row's activations: token, position, sequence, mask
ADAM = 12  # bytes a parameter in training: the weight and two moments, in float32
GRPO_STATE = 2 * ADAM + 4  # of GRPO on disk: the last one, the next and its weights once more
GB, TB = 1e9, 1e12

ASSUMPTIONS = f"""\
An H200: {FLOPS / 1e12:.0f} TFLOP/s in bfloat16 and {BANDWIDTH / 1e12:.1f} TB/s, both measured. Of
these extraction reaches {EXTRACTING:.0%}, training {TRAINING:.0%}, sampling {SAMPLING:.0%}. A
crosscoder step takes 5 matrix products a model and 28 bytes of memory traffic a parameter.
Traces have {TRACE:,} tokens in the mean, the problems' own solutions {SOLUTION}; {KEPT:.0%} are
right. Answers in RL have {ANSWER:,}. In
evaluation a batch of answers takes {DECODE} s a token until its longest ends, at {LONGEST:.0%} of
what is allowed. An intervention takes the upper half of a pass over all questions.
Every job takes {START} s to start, and reads and writes {DISK / GB:.0f} GB/s.
Wall time is for GPUs that are always busy."""


class Size(NamedTuple):
    """Of a language model."""

    layers: int
    d_model: int
    parameters: float


SIZES = {  # of models on the hub, from their config.json and safetensors' metadata
    "Qwen/Qwen3-4B-Base": Size(36, 2560, 4.02e9),
    "Qwen/Qwen2.5-7B": Size(28, 3584, 7.62e9),
    "meta-llama/Llama-3.1-8B-Instruct": Size(32, 4096, 8.03e9),
    "Qwen/Qwen3-32B": Size(64, 5120, 32.8e9),
    "Qwen/Qwen2.5-0.5B": Size(24, 896, 494e6),
    "Qwen/Qwen3-14B-Base": Size(40, 5120, 14.8e9),
    "allenai/OLMo-2-0425-1B": Size(16, 2048, 1.48e9),
}


def size_of(key: str, source: ModelSource, study: StudyConfig) -> Size:
    """Of a known model of the hub, a local directory or the world's; InputError for another."""
    if source.model in SIZES:
        return SIZES[source.model]
    if is_synthetic(source.model, study):
        return from_fields(study.world.model.model_dump())
    if (file := Path(source.model) / "config.json").is_file():
        try:
            return from_fields(read_json(file))
        except KeyError as field:
            raise InputError(
                f"{key}: {file} has no {field}, so the model's size is not known. Add it to SIZES "
                "in crosslens/workflow/cost_estimate.py."
            ) from field
    raise InputError(
        f"{key}: the size of {source.model} is not known before it is downloaded. Give a local "
        f"directory, or add it to SIZES in crosslens/workflow/cost_estimate.py, which has "
        f"{', '.join(SIZES)}."
    )


def from_fields(fields: Mapping[str, Any]) -> Size:
    """From the fields of a config.json: attention, gated feed-forward layers, embeddings."""
    fields = with_common_names(fields)
    d, layers = fields["hidden_size"], fields["num_hidden_layers"]
    heads = fields["num_attention_heads"]
    groups, head = fields.get("num_key_value_heads") or heads, fields.get("head_dim") or d // heads
    layer = 2 * d * head * (heads + groups) + 3 * d * (fields.get("intermediate_size") or 4 * d)
    tables = 1 if fields.get("tie_word_embeddings", True) else 2
    return Size(layers, d, layers * layer + tables * d * fields.get("vocab_size", 1000))


def jobs(study: StudyConfig) -> dict[str, int]:
    """Jobs of each rule for the default target, nothing being done yet."""
    families = list(study.families.values())
    shards, settings = study.activations.shards, study.crosscoder
    variants = sum(len(crosscoder_design.extracted(family, settings)) for family in families)
    crosscoders = sum(len(crosscoder_design.crosscoders(family, settings)) for family in families)
    groups = sum(len(crosscoder_design.groups(family, settings)) for family in families)
    trained = {
        p: sum(p in study_design.trained(f) for f in families) for p in study_design.PARADIGMS
    }
    once: tuple[str, ...] = (
        "score_specificity",
        "measure_overlap",
        "rank_shifts",
        "find_critical_samples",
    )
    once += ("tokenize_corpus", "report_data_path", "start_family")
    once += ("read_questions", "assess_interventions")
    once += ("measure_splice", "collect_feature_cards", "write_feature_page")
    trios = len(crosscoder_design.trios(settings)) * len(families)
    seeds = (1 + settings.extra_seeds) * len(families)
    matched = "drift_matched" in settings.evidence
    count = world_jobs(study) | {
        "import_model": sum(len(study_design.given(family)) for family in families),
        "download_source": len(downloads(study)),
        "prepare_benchmark": sum(
            file != study.evaluation.files[task].dataset
            for task, file in benchmark_files(study).items()
        ),
        "prepare_problems": int(study_design.trains(study.families)),
        "generate_traces": study.traces.shards if study_design.trains(study.families) else 0,
        "filter_traces": int(study_design.trains(study.families)),
        "train_sft": trained["sft"],
        "count_prompts": trained["rl"],
        "train_grpo": trained["rl"],
        "evaluate_model": len(study_design.FINAL) * len(families),
        **dict.fromkeys(once, len(families)),
        "match_drift": matched * len(families),
        "extract_activations": variants * (shards + 1),
        "train_crosscoders": groups * shards,
        "evaluate_crosscoder": crosscoders,
        **dict.fromkeys(("score_features", "select_features"), trios),
        "intervene": 2 * seeds + len(families) * sft_control(study),
        "draw_figure": len(FIGURES),
        "draw_training_curves": 1 + sum(map(bool, trained.values())),
        **{"tabulate_accuracy": 1, "tabulate_interventions": 4, "write_report": 1, "all": 1},
    }
    return {rule: number for rule, number in count.items() if number}


def world_jobs(study: StudyConfig) -> dict[str, int]:
    """Return the jobs of the synthetic world's rules, none where nothing is read from it."""
    paths = {path for _, path in named_paths(study) if is_synthetic(path, study)}
    world = f"results/{study.study}/world"
    teacher = f"{world}/teacher" in paths and study_design.trains(study.families)
    counts = {"pretrain_base": f"{world}/base" in paths, "pretrain_teacher": teacher}
    return {"build_world": int(bool(paths))} | {rule: int(is_in) for rule, is_in in counts.items()}


def gpu_hours(study: StudyConfig, count: Mapping[str, int]) -> dict[str, float]:
    """GPU-hours of each rule that computes on GPUs, its jobs together."""
    hours = dict.fromkeys(GPU_RULES, 0.0)
    if study_design.trains(study.families):
        hours["generate_traces"] = teacher_hours(study)
    for name, family in study.families.items():
        size = size_of(f"families.{name}.base", study_design.given(family)["base"], study)
        for rule, value in family_hours(study, family, size).items():
            hours[rule] += value
    starts = {rule: count.get(rule, 0) * START / 3600 for rule in GPU_RULES}
    return {rule: hours[rule] + starts[rule] for rule in GPU_RULES if count.get(rule)}


def problems(study: StudyConfig) -> int:
    """Training problems: the world's, or the mean of what the configuration promises."""
    sources = study.problems.sources.values()
    made = any(is_synthetic(source.dataset, study) for source in sources)
    count = study.world.problems if made else sum(study.problems.expected_count) // 2
    limit = study.problems.limit
    return count if limit == "all" else min(count, limit)


def teacher_hours(study: StudyConfig) -> float:
    """Return the hours of sampling a trace of every problem: 2 FLOP a parameter and token."""
    teacher = study.traces.teacher
    if teacher is None:
        return 0.0
    size = size_of("traces.teacher", ModelSource(model=teacher), study)
    return sampling(size, problems(study) * trace_tokens(study.traces))


def trace_tokens(traces: TracesConfig) -> int:
    """Return the mean tokens of a trace."""
    return SOLUTION if traces.teacher is None else min(TRACE, traces.max_new_tokens)


def sampling(size: Size, tokens: float) -> float:
    """Hours to sample so many tokens."""
    return 2 * size.parameters * tokens / (FLOPS * SAMPLING) / 3600


def family_hours(study: StudyConfig, family: FamilyConfig, size: Size) -> dict[str, float]:
    """GPU-hours of one family, without the start of its jobs."""
    grpo, settings = study.grpo, study.crosscoder
    variants = len(crosscoder_design.extracted(family, settings))
    hours = {
        "evaluate_model": len(study_design.FINAL) * evaluation_hours(study, size),
        "extract_activations": variants * extraction_hours(study, size),
        "train_crosscoders": sum(
            crosscoder_hours(study, size, slots)
            for group in crosscoder_design.groups(family, settings).values()
            for slots in crosscoder_slots(group, family, settings)
        ),
        "read_questions": len(study_design.FINAL) * questions_hours(study, size),
        "intervene": arms(study) * questions_hours(study, size) / 2,  # the model's upper half
        "measure_splice": len(study_design.FINAL) * splice_hours(study, size),
        "collect_feature_cards": len(study_design.FINAL) * heldout_hours(study, size),
    }
    trained = study_design.trained(family)
    if "sft" in trained:  # forward, backward and the forward again that checkpointing takes
        tokens = KEPT * problems(study) * trace_tokens(study.traces)
        hours["train_sft"] = 8 * size.parameters * tokens / (FLOPS * TRAINING) / 3600
    if "rl" in trained:  # sampling; old log-probabilities, then an update of every token
        answer = min(ANSWER, grpo.max_response_length)
        tokens = problems(study) * grpo.rollouts * answer
        update = 10 * size.parameters * tokens / (FLOPS * TRAINING) / 3600
        hours["train_grpo"] = sampling(size, tokens) + update
    return hours


def evaluation_hours(study: StudyConfig, size: Size) -> float:
    """One model on all benchmarks: sampled answers, and the likelihood of every choice."""
    settings = study.evaluation
    answers = sum(
        most(study, MATH.get(task, OTHER_MATH)) * entry.repeats
        for task, entry in settings.math.items()
    )
    tasks = len(settings.tasks) + len(settings.heldout_tasks)
    read = tasks * most(study, QUESTIONS) * CHOICES * QUESTION
    reading = 2 * size.parameters * read / (FLOPS * EXTRACTING) / 3600
    batches = math.ceil(answers / settings.batch_size)
    return batches * LONGEST * settings.max_new_tokens * DECODE / 3600 + reading


def most(study: StudyConfig, questions: int) -> int:
    """Return how many of a benchmark's questions are asked."""
    limit = study.evaluation.limit
    return questions if limit == "all" else min(limit, questions)


def questions_hours(study: StudyConfig, size: Size) -> float:
    """One pass of one model over all multiple-choice questions; choices share their prompt."""
    tasks = len(study.evaluation.tasks) + len(study.evaluation.heldout_tasks)
    tokens = tasks * most(study, QUESTIONS) * (QUESTION + CHOICES * BRANCH)
    return 2 * size.parameters * tokens / (FLOPS * EXTRACTING) / 3600


def sft_control(study: StudyConfig) -> int:
    """1 where features are edited in the SFT model too."""
    return int(study.causal_protocol.sft_control)


def arms(study: StudyConfig) -> int:
    """Edits of all questions in one family, over models and seeds, if every set has a feature.

    Of base and RL everything for the first seed, the primary arms and the paper's three sets for
    the others; of SFT these with fewer controls (crosslens.analysis.arms).
    """
    protocol, paper = study.causal_protocol, 3
    matched, exploratory = protocol.matched_sets, protocol.exploratory_sets
    doses = len(protocol.multiply) + len(protocol.clamp) - 1  # the primary one runs anyway
    compared = 2 + 3 + exploratory + 1  # other sets, directions, random ones, the whole state
    whole = (
        (1 + matched)
        + compared
        + 3 * (1 + exploratory)  # majority, contrast, leaving a task out
        + doses * (1 + protocol.curve_sets)
        + paper * (1 + 2 * study.interventions.random_sets)
    )
    seeds = study.crosscoder.extra_seeds * (1 + matched + paper)
    return 2 * (whole + seeds) + sft_control(study) * (1 + exploratory + paper)


def extraction_hours(study: StudyConfig, size: Size) -> float:
    """One variant's activations: half of the model on every token, and writing them."""
    tokens = study.corpus.tokens + study.corpus.heldout_tokens
    computing = 2 * size.parameters / 2 * tokens / (FLOPS * EXTRACTING)
    return (computing + tokens * (2 * size.d_model + ROW) / DISK) / 3600


def heldout_hours(study: StudyConfig, size: Size) -> float:
    """One model on the held-out texts, up to the middle layer; nothing is written."""
    tokens = study.corpus.heldout_tokens
    return 2 * size.parameters / 2 * tokens / (FLOPS * EXTRACTING) / 3600


def splice_hours(study: StudyConfig, size: Size) -> float:
    """One model's lower half, and its upper half with the head for each of six streams."""
    tokens = study.metrics.splice_tokens
    return 2 * size.parameters * (1 + 6) / 2 * tokens / (FLOPS * EXTRACTING) / 3600


def crosscoder_slots(
    directories: list[str], family: FamilyConfig, settings: CrosscoderConfig
) -> list[int]:
    """Return the number of decoders of each crosscoder: one a model, or one in all."""
    names = map(crosscoder_design.base_name, directories)
    designs = [crosscoder_design.design(name, family, settings) for name in names]
    return [1 if found.inputs == "differences" else len(found.models) for found in designs]


def weights(study: StudyConfig, size: Size, models: int) -> float:
    """Parameters of a crosscoder: W_enc and W_dec."""
    return 2 * models * size.d_model * study.crosscoder.d_sparse


def crosscoder_hours(study: StudyConfig, size: Size, models: int) -> float:
    """All steps of one crosscoder, and its state read and written at each shard."""
    settings, shards = study.crosscoder, study.activations.shards
    steps = study.corpus.tokens * settings.epochs / settings.batch_size
    count = weights(study, size, models)
    products = 5 * count * settings.batch_size  # 5 of 2 n d k FLOP a token: 10 n d k
    step = products / FLOPS + 28 * count / BANDWIDTH
    return (steps * step + shards * 2 * ADAM * count / DISK) / 3600


class Disk(NamedTuple):
    """Bytes of one family at their most."""

    rolling: float  # shards: `shards_on_disk` of each variant
    whole: float  # all shards at once, which never exist
    heldout: float
    states: float
    crosscoders: float
    models: float
    training: float  # of GRPO, gone when its last checkpoint is exported


def disk_of(study: StudyConfig, family: FamilyConfig, size: Size) -> Disk:
    """Bytes that a family takes on disk."""
    corpus, settings = study.corpus, study.activations
    variants = len(crosscoder_design.extracted(family, study.crosscoder))
    kept = 1 - settings.skip_positions / corpus.sequence_length
    token = variants * (2 * size.d_model + ROW) * kept
    whole = token * corpus.tokens
    groups = [
        sum(
            weights(study, size, slots)
            for slots in crosscoder_slots(group, family, study.crosscoder)
        )
        for group in crosscoder_design.groups(family, study.crosscoder).values()
    ]
    return Disk(
        rolling=whole * min(1, settings.shards_on_disk / settings.shards),
        whole=whole,
        heldout=token * corpus.heldout_tokens,
        states=ADAM * (sum(groups) + max(groups)),  # one is read while the next one is written
        crosscoders=4 * sum(groups),
        models=2 * size.parameters * (variants + study_design.unstudied(family)),
        training=GRPO_STATE * size.parameters if "rl" in study_design.trained(family) else 0.0,
    )


def disks(study: StudyConfig) -> dict[str, Disk]:
    """`disk_of` every family."""
    return {
        name: disk_of(
            study,
            family,
            size_of(f"families.{name}.base", study_design.given(family)["base"], study),
        )
        for name, family in study.families.items()
    }


def peak(found: Mapping[str, Disk], *, rolling: bool, at_once: bool) -> float:
    """Most bytes there are: of all families at once, or with shards of one after the other.

    What stays (models, crosscoders) counts of all. In turns, later families may be in training
    while one has its shards; those before it are done.
    """
    families = list(found.values())
    stays = sum(disk.crosscoders + disk.models for disk in families)
    goes = [
        max(disk.training, (disk.rolling if rolling else disk.whole) + disk.heldout + disk.states)
        for disk in families
    ]
    later = [sum(disk.training for disk in families[i + 1 :]) for i in range(len(families))]
    return stays + (sum(goes) if at_once else max(map(sum, zip(goes, later, strict=True))))


def describe(study: StudyConfig, needs: Mapping[str, Mapping[str, int]]) -> str:
    """Return the plan as text. `needs` are the `gpu` and `mem_mb` of one job of each rule."""
    count = jobs(study)
    gpus = {rule: needs.get(rule, {}).get("gpu", 0) for rule in count}
    hours = {rule: h for rule, h in gpu_hours(study, count).items() if gpus[rule]}
    lines = [f"{'rule':24}{'jobs':>7}{'GPUs':>6}{'GPU-hours':>11}{'GB RAM':>8}"]
    for rule, number in count.items():
        spent = f"{hours[rule]:.1f}" if rule in hours else "-"
        memory = needs.get(rule, {}).get("mem_mb", 0) / 1000 or "-"
        lines.append(f"{rule:24}{number:7}{gpus[rule] or '-':>6}{spent:>11}{memory:>8}")
    total, machine = sum(hours.values()), max(gpus.values())
    lines.append(f"{'total':24}{sum(count.values()):7}{total:>17.1f}")
    if machine:
        lines.append(f"\nWall time on {machine} GPUs: {total / machine / 24:.1f} days or more")
    return "\n".join([*lines, "", *disk_lines(study), "", "Assumptions", ASSUMPTIONS])


def disk_lines(study: StudyConfig) -> list[str]:
    """Return the lines about space on disk."""
    found = disks(study)
    lines = [f"{'disk (GB)':24}" + "".join(f"{name[:11]:>13}" for name in found)]
    for field in Disk._fields:
        name = {"rolling": f"shards, {study.activations.shards_on_disk} a variant"}.get(
            field, {"whole": "all shards at once", "heldout": "held-out shards"}.get(field, field)
        )
        values = (getattr(disk, field) / GB for disk in found.values())
        lines.append(f"{name:24}" + "".join(f"{value:13,.1f}" for value in values))
    for what, at_once in (
        ("families in turns, as the whole study runs", False),
        ("all at once", True),
    ):
        now, never = (peak(found, rolling=r, at_once=at_once) / TB for r in (True, False))
        lines.append(f"Peak, {what}: {now:.2f} TB; without rolling {never:.2f} TB")
    return lines
