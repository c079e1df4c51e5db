"""Estimate how many GPU-hours each rule takes."""

import math
from collections.abc import Mapping

from crosslens.config import crosscoder_design, study_design
from crosslens.config.locations import is_synthetic
from crosslens.config.sections import FamilyConfig, ModelSource
from crosslens.config.study import StudyConfig
from crosslens.config.workflow_checks import GPU_RULES
from crosslens.workflow.cost_estimate.crosscoder_size import crosscoder_slots, weights
from crosslens.workflow.cost_estimate.job_counts import (
    sampled_by_vllm,
    sft_control,
    topk_edited,
)
from crosslens.workflow.cost_estimate.model_sizes import Size, size_of
from crosslens.workflow.cost_estimate.rates import (
    ADAM,
    ANSWER,
    BRANCH,
    CARDS,
    CHOICES,
    CORRECT,
    DECODE,
    DISK,
    EXTRACTING,
    LONGEST,
    MATH,
    MATH_ANSWER,
    OTHER_MATH,
    QUESTION,
    QUESTIONS,
    READING,
    ROW,
    SAMPLING,
    SOLUTION,
    START,
    STEP,
    TOGETHER,
    TRACE,
    TRAINING,
)


def gpu_hours(study: StudyConfig, count: Mapping[str, int]) -> dict[str, float]:
    """Return the GPU-hours of each rule that uses GPUs, summed over its jobs."""
    hours = dict.fromkeys(GPU_RULES, 0.0)
    if study_design.trains(study.families):
        hours["generate_traces"] = teacher_hours(study)
    for name, family in study.families.items():
        size = size_of(f"families.{name}.base", study_design.given(family)["base"], study)
        for rule, value in family_hours(study, family, size).items():
            hours[rule] += value
    starts = {rule: count.get(rule, 0) * START / 3600 for rule in GPU_RULES}
    return {rule: hours[rule] + starts[rule] for rule in GPU_RULES if count.get(rule)}


def flops(study: StudyConfig) -> float:
    """Return the bfloat16 products a second of the study's card."""
    return CARDS[study.plan.gpu].flops


def bandwidth(study: StudyConfig) -> float:
    """Return the bytes a second at which the study's card reads its memory."""
    return CARDS[study.plan.gpu].bandwidth


def problems(study: StudyConfig) -> int:
    """Return the number of training problems: the synthetic data's, or the expected mean."""
    world, given = study.world, study.problems
    assert given is not None, "asked for a study that trains"
    made = any(is_synthetic(source.dataset, study) for source in given.sources.values())
    count = world.problems if world and made else sum(given.expected_count) // 2
    limit = given.limit
    return count if limit == "all" else min(count, limit)


def teacher_hours(study: StudyConfig) -> float:
    """Return the hours to sample a trace of every problem, at 2 FLOP per parameter and token."""
    teacher = study.traces.teacher if study.traces else None
    if teacher is None:
        return 0.0
    size = size_of("traces.teacher", ModelSource(model=teacher), study)
    return sampling(study, size, problems(study) * trace_tokens(study))


def trace_tokens(study: StudyConfig) -> int:
    """Return the mean tokens of a trace."""
    traces = study.traces
    assert traces is not None, "asked for a study that trains"
    return SOLUTION if traces.teacher is None else min(TRACE, traces.max_new_tokens)


def sampling(study: StudyConfig, size: Size, tokens: float) -> float:
    """Return the hours to sample a number of tokens."""
    return 2 * size.parameters * tokens / (flops(study) * SAMPLING) / 3600


def family_hours(study: StudyConfig, family: FamilyConfig, size: Size) -> dict[str, float]:
    """Return the GPU-hours of one family, without the time to start jobs."""
    grpo, settings = study.grpo, study.crosscoder
    variants = len(crosscoder_design.extracted(family, settings))
    hours = {
        "generate_answers": len(study_design.FINAL) * answers_hours(study, size),
        "evaluate_model": len(study_design.FINAL) * evaluation_hours(study, size),
        "extract_activations": variants
        * (extraction_hours(study, size) + (study.activations.shards + 1) * loading_hours(size)),
        "train_crosscoders": sum(
            crosscoder_hours(study, size, slots)
            for group in crosscoder_design.groups(family, settings).values()
            for slots in crosscoder_slots(group, family, settings)
        ),
        "answer_questions": len(study_design.FINAL) * questions_hours(study, size),
        "intervene": arms(study) * questions_hours(study, size) / 2,  # the model's upper half
        "measure_splice": len(study_design.FINAL) * splice_hours(study, size),
        # Of each model a lower half, and an upper half for each of three codes.
        "measure_gap": len(study_design.FINAL) * 4 / 2 * questions_hours(study, size),
        "collect_feature_cards": len(study_design.FINAL) * heldout_hours(study, size),
    }
    trained = study_design.trained(family)
    if "sft" in trained:  # forward, backward and the forward again that checkpointing takes
        tokens = CORRECT * problems(study) * trace_tokens(study)
        hours["train_sft"] = 8 * size.parameters * tokens / (flops(study) * TRAINING) / 3600
    if "rl" in trained:  # sampling; old log-probabilities, then an update of every token
        answer = min(ANSWER, grpo.max_response_length)
        tokens = problems(study) * grpo.rollouts * answer
        update = 10 * size.parameters * tokens / (flops(study) * TRAINING) / 3600
        hours["train_grpo"] = sampling(study, size, tokens) + update
    return hours


def answers_to(study: StudyConfig, task: str) -> int:
    """Return how many answers one model gives to a math set."""
    problems = most(study, MATH.get(task, OTHER_MATH))
    return problems * study.evaluation.math[task].repeats


def answers_hours(study: StudyConfig, size: Size) -> float:
    """Return the hours of one model's answers through vLLM, which reads memory at every step.

    On average, an answer in the batch has half of its final length. At the end of a set, only the
    longest answer is left.
    """
    most_tokens = study.evaluation.max_new_tokens
    tokens = min(MATH_ANSWER, most_tokens)
    alone = 2 * size.parameters / (bandwidth(study) * READING) + STEP
    cache = 2 * size.cache * tokens / 2 / (bandwidth(study) * READING)
    seconds = 0.0
    for task in sampled_by_vllm(study):
        answers = answers_to(study, task)
        steps = answers * tokens / min(TOGETHER, answers)
        seconds += steps * alone + answers * tokens * cache + (most_tokens - tokens) * alone
    return seconds / 3600


def evaluation_hours(study: StudyConfig, size: Size) -> float:
    """Return the hours of one model on all benchmarks: choices, and answers without vLLM."""
    settings = study.evaluation
    sampled = settings.math.keys() - sampled_by_vllm(study)
    answers = sum(answers_to(study, task) for task in sampled)
    tasks = len(settings.tasks) + len(settings.heldout_tasks)
    read = tasks * most(study, QUESTIONS) * CHOICES * QUESTION
    reading = 2 * size.parameters * read / (flops(study) * EXTRACTING) / 3600
    batches = math.ceil(answers / settings.batch_size)
    return batches * LONGEST * settings.max_new_tokens * DECODE / 3600 + reading


def most(study: StudyConfig, questions: int) -> int:
    """Return how many of a benchmark's questions are used."""
    limit = study.evaluation.limit
    return questions if limit == "all" else min(limit, questions)


def questions_hours(study: StudyConfig, size: Size) -> float:
    """Return the hours of one pass over all multiple-choice questions; choices share a prompt."""
    tasks = len(study.evaluation.tasks) + len(study.evaluation.heldout_tasks)
    tokens = tasks * most(study, QUESTIONS) * (QUESTION + CHOICES * BRANCH)
    return 2 * size.parameters * tokens / (flops(study) * EXTRACTING) / 3600


def arms(study: StudyConfig) -> int:
    """Return the number of edits of all questions in one family, if every set has a feature.

    For base and RL these are all arms with the first seed, and the primary arms and the paper's
    three sets with the other seeds and one of BatchTopK. SFT has the latter with fewer controls
    (crosslens.analysis.arms).
    """
    protocol, paper = study.causal_protocol, 3
    matched, exploratory = protocol.matched_sets, protocol.exploratory_sets
    doses = len(protocol.multiply) + len(protocol.clamp) - 1  # the primary one runs anyway
    compared = 2 + 3 + exploratory + 1  # other sets, directions, random ones, the whole state
    first_seed = (
        (1 + matched)
        + compared
        + 3 * (1 + exploratory)  # majority, contrast, leaving a task out
        + doses * (1 + protocol.curve_sets)
        + paper * (1 + 2 * study.interventions.random_sets)
    )
    other_seeds = (study.crosscoder.extra_seeds + topk_edited(study)) * (1 + matched + paper)
    return 2 * (first_seed + other_seeds) + sft_control(study) * (1 + exploratory + paper)


def extraction_hours(study: StudyConfig, size: Size) -> float:
    """Return the hours to extract one variant's activations: half of the model, and writing."""
    tokens = study.corpus.tokens + study.corpus.heldout_tokens
    computing = 2 * size.parameters / 2 * tokens / (flops(study) * EXTRACTING)
    return (computing + tokens * (2 * size.d_model + ROW) / DISK) / 3600


def loading_hours(size: Size) -> float:
    """Return the hours in which a job loads the lower half of one more model, in 16 bits."""
    return 2 * size.parameters / 2 / DISK / 3600


def heldout_hours(study: StudyConfig, size: Size) -> float:
    """Return the hours of one model on the held-out texts, up to the middle layer."""
    tokens = study.corpus.heldout_tokens
    return 2 * size.parameters / 2 * tokens / (flops(study) * EXTRACTING) / 3600


def splice_hours(study: StudyConfig, size: Size) -> float:
    """Return the hours of one pass of a model's lower half and six of its upper half with head."""
    tokens = study.metrics.splice_tokens
    return 2 * size.parameters * (1 + 6) / 2 * tokens / (flops(study) * EXTRACTING) / 3600


def crosscoder_hours(study: StudyConfig, size: Size, models: int) -> float:
    """Return the hours of one crosscoder's steps, with its state read and written each shard."""
    settings, shards = study.crosscoder, study.activations.shards
    steps = study.corpus.tokens * settings.epochs / settings.batch_size
    count = weights(study, size, models)
    products = 5 * count * settings.batch_size  # 5 of 2 n d k FLOP a token: 10 n d k
    step = products / flops(study) + 28 * count / bandwidth(study)
    return (steps * step + shards * 2 * ADAM * count / DISK) / 3600
