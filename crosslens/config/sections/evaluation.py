"""Benchmarks."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from crosslens.config import benchmark_columns
from crosslens.config.messages import suggestion
from crosslens.config.sections.base import (
    BackendOptions,
    BatchSize,
    Key,
    Section,
    Tasks,
    TokenCount,
    refuse_vllm_options,
)
from crosslens.config.sections.data import Source
from crosslens.io.errors import InputError

CHOICE_TASKS = {*benchmark_columns.TASKS, *benchmark_columns.HUB_TASKS} - {*benchmark_columns.MATH}


class MathTaskConfig(Section):
    """A math set, answered by sampling."""

    repeats: int = Field(
        ge=1,
        le=1000,
        description="Completions sampled for each problem; the accuracy is their mean.",
    )


class EvaluationConfig(Section):
    """Benchmarks, run by lm-eval with the harness's own task code (evaluate_model)."""

    batch_size: BatchSize = Field(
        32, description="Requests of one forward pass (evaluate_model, intervene)."
    )
    tasks: Tasks = Field(
        ["openbookqa", "commonsense_qa", "headqa_en", "sciq", "arc_challenge"],
        description="Multiple-choice tasks of Table 1 that generalization features are selected on "
        "(evaluate_model, score_features, intervene).",
    )
    heldout_tasks: Tasks = Field(
        ["logiqa", "piqa"],
        description="Multiple-choice tasks that features are tested on but not selected on, Tables "
        "4 and 5 (evaluate_model, intervene).",
    )
    math: dict[Key, MathTaskConfig] = Field(
        {
            "math500": MathTaskConfig(repeats=3),
            "aime24": MathTaskConfig(repeats=10),
            "aime25": MathTaskConfig(repeats=10),
        },
        description="Math sets of Table 1, by Evalchemy's protocol; every model then needs a chat "
        "template (evaluate_model, generate_answers). Any other name needs an entry in "
        "evaluation.files, whose data have the columns problem and answer.",
    )
    backend: Literal["transformers", "vllm"] = Field(
        "transformers",
        description="Backend that samples answers to math sets: transformers (in evaluate_model, "
        "on a CPU or one GPU), or vLLM (in generate_answers) for long answers on GPUs.",
    )
    temperature: float = Field(
        0.7,
        ge=0,
        le=2,
        description="Sampling temperature of the math sets (evaluate_model, generate_answers); "
        "Evalchemy has 0.7.",
    )
    max_new_tokens: TokenCount = Field(
        32768,
        description="Longest completion of the math sets, in tokens (evaluate_model, "
        "generate_answers); Evalchemy has 32768.",
    )
    vllm_engine: BackendOptions = Field(
        {},
        description="Further arguments of vLLM's engine (gpu_memory_utilization, ...), passed on "
        "unchanged (generate_answers).",
    )
    limit: Literal["all"] | Annotated[int, Field(ge=1, le=10**6)] = Field(
        "all",
        description="Largest number of questions of each benchmark, drawn at random by the study's "
        "seed; evaluation and interventions use the same questions (prepare_benchmark).",
    )
    files: dict[Key, Source] = Field(
        {},
        description="Data of every task, in the columns that lm-eval reads: a local file, or a "
        "data set of the hub with revision and the files of one split; it becomes one local file "
        "(prepare_benchmark) that evaluate_model and answer_questions read.",
    )

    @model_validator(mode="after")
    def only_vllm_takes_its_options(self) -> Self:
        """Raise InputError for options of vLLM where it is not used."""
        refuse_vllm_options(self.backend, vllm_engine=self.vllm_engine)
        return self

    @model_validator(mode="after")
    def tasks_are_known(self) -> Self:
        """Raise InputError for a task that is unknown, in the wrong list or in two lists."""
        for key in ("tasks", "heldout_tasks"):
            for task in getattr(self, key):
                check_choice_task(key, task)
        for task in self.math:
            check_math_task(task)
        for task in self.heldout_tasks:
            if task in self.tasks:
                raise InputError(
                    f"heldout_tasks: {task} is also in tasks. Remove it from one of them."
                )
        for task in self.files:
            if task not in (named := [*self.tasks, *self.heldout_tasks, *self.math]):
                raise InputError(f"files.{task}: unknown task. {suggestion(task, named)}")
        return self


def check_math_task(task: str) -> None:
    """Raise InputError for a math set that has the name of a multiple-choice task."""
    if task in CHOICE_TASKS:
        raise InputError(
            f"math: {task} is a multiple-choice task. Move it to tasks or heldout_tasks."
        )


def check_choice_task(key: str, task: str) -> None:
    """Raise InputError for a task that is not a multiple-choice task with known columns."""
    if task in benchmark_columns.MATH:
        raise InputError(f"{key}: {task} is a math set. Move it to math.")
    if task not in CHOICE_TASKS:
        raise InputError(
            f"{key}: {task} is not among the multiple-choice tasks of "
            f"crosslens/config/benchmark_columns.py. {suggestion(task, sorted(CHOICE_TASKS))}"
        )
