"""How much memory a job takes on each of its GPUs: weights, training states, logits, caches.

Intermediate values of the layers are left out, as checkpointing keeps few of them.
"""

from collections.abc import Mapping

from crosslens.config import crosscoder_design, study_design
from crosslens.config.sections import FamilyConfig, ModelSource
from crosslens.config.study import StudyConfig
from crosslens.workflow.cost_estimate.crosscoder_size import crosscoder_slots, weights
from crosslens.workflow.cost_estimate.job_counts import sampled_by_vllm
from crosslens.workflow.cost_estimate.model_sizes import Size, size_of
from crosslens.workflow.cost_estimate.rates import (
    ADAM,
    CARDS,
    LOGIT,
    QUESTION,
    STATE,
    VLLM_SHARE,
)

SHARE = "actor_rollout_ref.rollout.gpu_memory_utilization"
FIXES = {  # what lowers the memory of a rule
    "train_sft": "Lower sft.micro_batch_size, or set sft.deepspeed: zero3 with more GPUs",
    "train_grpo": "Give resources.train_grpo.gpu more GPUs, or lower grpo.tokens_per_device "
    "(updates) and gpu_memory_utilization in grpo.engine_options (rollouts)",
    "generate_traces": "Give resources.generate_traces.gpu more GPUs",
    "evaluate_model": "Lower evaluation.batch_size",
    "train_crosscoders": "Lower crosscoder.d_sparse",
}  # of other rules nothing but a larger card


def gpu_memory(study: StudyConfig, gpus: Mapping[str, int]) -> dict[str, float]:
    """Return the bytes that a job of each rule takes on one GPU, of the family that takes most.

    `gpus` are those of one job of each rule.
    """
    largest = teacher_memory(study, gpus.get("generate_traces") or 1)
    for name, family in study.families.items():
        size = size_of(f"families.{name}.base", study_design.given(family)["base"], study)
        memories = model_memory(study, size, gpus) | crosscoder_memory(study, family, size)
        for variant in study_design.trained(family):
            rule, memory = TRAINING[variant]
            memories[rule] = memory(study, name, size, gpus.get(rule) or 1)
        for rule, value in memories.items():
            largest[rule] = max(largest.get(rule, 0.0), value)
    return {rule: value for rule, value in largest.items() if gpus.get(rule)}


def teacher_memory(study: StudyConfig, gpus: int) -> dict[str, float]:
    """Return the bytes of the teacher's weights in bfloat16 on one GPU, if there is a teacher."""
    teacher = study.traces.teacher if study.traces else None
    if teacher is None:
        return {}
    size = size_of("traces.teacher", ModelSource(model=teacher), study)
    return {"generate_traces": 2 * size.parameters / gpus}


def sft_memory(study: StudyConfig, family: str, size: Size, gpus: int) -> float:
    """Return the bytes of SFT on one GPU. ZeRO-3 spreads all state over GPUs, ZeRO-2 all but the
    weights in bfloat16."""
    sft = study.training_of(family).sft
    whole = {"zero3": 0, "zero2": 2}.get(sft.deepspeed, STATE)
    state = (whole + (STATE - whole) / gpus) * size.parameters
    return state + LOGIT * size.vocabulary * sft.micro_batch_size * sft.max_length


def grpo_memory(study: StudyConfig, family: str, size: Size, gpus: int) -> float:
    """Return the bytes of GRPO on one GPU: of rollouts with vLLM's share, or of an update."""
    grpo = study.training_of(family).grpo
    share = float(str(grpo.engine_options.get(SHARE, VLLM_SHARE))) if grpo.engine == "verl" else 0
    rollout = ADAM * size.parameters / gpus + share * CARDS[study.plan.gpu].memory
    update = STATE * size.parameters / gpus + LOGIT * size.vocabulary * grpo.tokens_per_device
    return max(rollout, update)


TRAINING = {"sft": ("train_sft", sft_memory), "rl": ("train_grpo", grpo_memory)}


def model_memory(study: StudyConfig, size: Size, gpus: Mapping[str, int]) -> dict[str, float]:
    """Return the bytes of rules that run a model in bfloat16.

    Sampled answers keep a cache, vLLM splits a model over its GPUs, and cards need the lower halves
    of three models.
    """
    asked, model = study.evaluation, 2 * size.parameters
    sampled = asked.math.keys() - sampled_by_vllm(study)
    cached = asked.batch_size * (QUESTION + asked.max_new_tokens) if sampled else 0
    return {
        "generate_answers": model / (gpus.get("generate_answers") or 1),
        "extract_activations": model,
        "answer_questions": model,
        "collect_feature_cards": len(study_design.FINAL) * model / 2,
        "evaluate_model": model + 2 * size.cache * cached,
    }


def crosscoder_memory(study: StudyConfig, family: FamilyConfig, size: Size) -> dict[str, float]:
    """Return the bytes for training the largest crosscoder, and for a model and the crosscoder of
    three models together."""
    groups = crosscoder_design.groups(family, study.crosscoder).values()
    slots = max(max(crosscoder_slots(group, family, study.crosscoder)) for group in groups)
    both = 2 * size.parameters + 4 * weights(study, size, len(study_design.FINAL))
    rules = ("intervene", "measure_splice", "measure_gap")
    return {"train_crosscoders": ADAM * weights(study, size, slots), **dict.fromkeys(rules, both)}
