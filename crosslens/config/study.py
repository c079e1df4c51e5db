"""The complete configuration of a study, and the checks between its sections.

Checks within one section are in its class (`crosslens.config.sections`). Checks of the files that a
configuration names are in `crosslens.config.loading`.
"""

from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from crosslens.config import benchmark_columns
from crosslens.config.messages import first_fault, suggestion
from crosslens.config.sections import (
    ActivationsConfig,
    CausalProtocolConfig,
    CorpusConfig,
    CrosscoderConfig,
    EvaluationConfig,
    FamilyConfig,
    FiguresConfig,
    GeneralizationConfig,
    GRPOConfig,
    InterventionsConfig,
    MetricsConfig,
    PlanConfig,
    ProblemsConfig,
    ResourceRequest,
    Section,
    SFTConfig,
    SyntheticConfig,
    TracesConfig,
)
from crosslens.config.sections.synthetic import CorpusTokensConfig
from crosslens.config.study_design import (
    N_CHECKPOINTS,
    PARADIGMS,
    given_checkpoints,
    merge,
    trained,
    trains,
)
from crosslens.io.errors import InputError

FamilyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class StudyConfig(Section):
    """Configuration of one study, which compares base models with their SFT- and RL-tuned
    descendants."""

    study: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Name of the study; all outputs are in results/<study>/ (all rules).",
    )
    seed: int = Field(
        0,
        ge=0,
        le=2**32 - 1,
        description="Seed from which every rule's seeds are derived (all rules that draw at "
        "random).",
    )
    world: SyntheticConfig | None = None
    families: Annotated[dict[FamilyName, FamilyConfig], Field(min_length=1)] = Field(
        description="One entry for each model family, each studied by itself (all rules); the name "
        "is part of its paths.",
    )
    problems: ProblemsConfig | None = None
    traces: TracesConfig | None = None
    sft: SFTConfig = SFTConfig()
    grpo: GRPOConfig = GRPOConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    corpus: CorpusConfig
    activations: ActivationsConfig = ActivationsConfig()
    crosscoder: CrosscoderConfig = CrosscoderConfig()
    metrics: MetricsConfig = MetricsConfig()
    generalization: GeneralizationConfig = GeneralizationConfig()
    interventions: InterventionsConfig = InterventionsConfig()
    causal_protocol: CausalProtocolConfig = CausalProtocolConfig()
    figures: FiguresConfig
    plan: PlanConfig = PlanConfig()
    resources: dict[RuleName, ResourceRequest] = Field(
        {},
        description="Resources of a rule's jobs, by rule name, where they differ from the rule's "
        "own (all rules).",
    )

    @model_validator(mode="after")
    def training_has_its_data(self) -> Self:
        """Raise InputError if a family is trained but the data for it are not configured."""
        for family, entry in self.families.items():
            for paradigm in PARADIGMS:
                count = len(given_checkpoints(entry, paradigm))
                if count not in (0, 1, N_CHECKPOINTS):
                    raise InputError(
                        f"families.{family}.{paradigm}: found {count} models. Give all "
                        f"{N_CHECKPOINTS} checkpoints, or only the last."
                    )
            missing = [key for key in ("problems", "traces") if getattr(self, key) is None]
            if trained(entry) and missing:
                raise InputError(
                    f"{missing[0]}: missing, but families.{family} is trained on it. Add the "
                    f"section, or give trained models as families.{family}.sft and .rl."
                )
        return self

    @model_validator(mode="after")
    def training_settings_fit(self) -> Self:
        """Raise InputError for settings of SFT and GRPO, a family's own included, that do not fit
        the other sections."""
        check_training(self, "", TrainingSettings(sft=self.sft, grpo=self.grpo))
        for family in self.families:
            where = f"families.{family}.overrides."
            try:
                check_training(self, where, self.training_of(family))
                check_batches(self, family)
            except ValidationError as error:
                schema = TrainingSettings.model_json_schema()
                fault = first_fault(error, self.training_settings(family), schema)
                raise InputError(where + fault) from error
        return self

    @model_validator(mode="after")
    def corpus_fills_its_shards(self) -> Self:
        """Raise InputError if a shard holds less than one batch of activations."""
        length, sources = self.corpus.sequence_length, len(self.corpus.sources)
        shards, skip = self.activations.shards, self.activations.skip_positions
        if skip >= length:
            raise InputError(
                f"activations.skip_positions: {skip} leaves no token in a sequence of "
                f"corpus.sequence_length: {length} tokens. Lower activations.skip_positions."
            )
        rows = self.corpus.tokens // sources // length * sources // shards * (length - skip)
        if rows < self.crosscoder.batch_size:
            raise InputError(
                f"corpus.tokens: {self.corpus.tokens} tokens in activations.shards: {shards} give "
                f"{rows} activations per shard, fewer than crosscoder.batch_size: "
                f"{self.crosscoder.batch_size}. Raise corpus.tokens, or lower activations.shards "
                "or crosscoder.batch_size."
            )
        return self

    @model_validator(mode="after")
    def families_are_known_and_labels_unique(self) -> Self:
        """Raise InputError for an unknown family, and for two families with one label."""
        for family in self.figures.families:
            if family not in self.families:
                raise InputError(
                    f"figures.families: unknown family {family}. "
                    f"{suggestion(family, self.families)}"
                )
        labels = [entry.label for entry in self.families.values()]
        for family, entry in self.families.items():
            if labels.count(entry.label) > 1:
                raise InputError(
                    f"families.{family}.label: {entry.label} is also the label of another family. "
                    "Change one of the labels."
                )
        return self

    @model_validator(mode="after")
    def every_task_has_its_data(self) -> Self:
        """Raise InputError for a task without a file or data set."""
        evaluation = self.evaluation
        for task in [*evaluation.tasks, *evaluation.heldout_tasks, *evaluation.math]:
            if task not in evaluation.files:
                raise InputError(
                    f"evaluation.files.{task}: missing. Give a local file, or a data set of the "
                    "hub with its revision and the files of one split."
                )
        return self

    @model_validator(mode="after")
    def world_makes_what_is_read(self) -> Self:
        """Raise InputError for a benchmark or a corpus that the synthetic data do not have."""
        folder = f"results/{self.study}/world"
        for task, source in self.evaluation.files.items():
            made = source.dataset.startswith(f"{folder}/benchmarks/")
            if made and task not in benchmark_columns.TASKS:
                raise InputError(
                    f"evaluation.files.{task}: the synthetic data have no {task}, only "
                    f"{', '.join(sorted(benchmark_columns.TASKS))}. Give another file, or a data "
                    "set of the hub."
                )
        for name, source in self.corpus.sources.items():
            if self.world and source.dataset.startswith(f"{folder}/corpora/"):
                check_world_corpus(self, name, source.dataset, self.world.corpus_tokens)
        return self

    def training_of(self, family: str) -> "TrainingSettings":
        """Return the settings of SFT and GRPO for one family. Raises ValidationError."""
        return TrainingSettings.model_validate(self.training_settings(family))

    def training_settings(self, family: str) -> dict[str, Any]:
        """Return the settings of SFT and GRPO for one family, as they reach the jobs."""
        own = self.families[family].overrides
        return {
            "sft": merge(self.sft.plain(), own.sft),
            "grpo": merge(self.grpo.plain(), own.grpo),
        }


class TrainingSettings(Section):
    """Settings of SFT and GRPO, for the study or for one of its families."""

    sft: SFTConfig
    grpo: GRPOConfig


def check_training(study: StudyConfig, where: str, settings: TrainingSettings) -> None:
    """Raise InputError for settings that do not fit the traces or the devices.

    `where` precedes the keys of the sections sft and grpo in messages. If nothing is trained, these
    settings have no effect and are not checked.
    """
    if not trains(study.families):
        return
    sft, grpo = settings.sft, settings.grpo
    traces = study.traces
    longest = traces.max_new_tokens if traces and traces.backend != "solutions" else 0
    if sft.max_length < longest:
        raise InputError(
            f"{where}sft.max_length: {sft.max_length} would truncate traces, which have up to "
            f"traces.max_new_tokens: {longest} tokens. Raise sft.max_length, or "
            "lower traces.max_new_tokens."
        )
    if sft.deepspeed != "none" and not gpus(study, "train_sft"):
        raise InputError(
            f"{where}sft.deepspeed: DeepSpeed needs GPUs, but resources.train_sft.gpu is 0. "
            "Raise resources.train_sft.gpu, or set sft.deepspeed: none."
        )
    if grpo.device == "cuda" and not gpus(study, "train_grpo"):
        raise InputError(
            f"{where}grpo.device: cuda needs a GPU, but resources.train_grpo.gpu is 0. Raise "
            "resources.train_grpo.gpu, or set grpo.device: cpu."
        )
    if grpo.engine == "trl" and gpus(study, "train_grpo") > 1:
        raise InputError(
            f"{where}grpo.engine: trl trains on one GPU, but resources.train_grpo.gpu is "
            f"{gpus(study, 'train_grpo')}. Lower resources.train_grpo.gpu, or set grpo.engine: "
            "verl."
        )


def check_batches(study: StudyConfig, family: str) -> None:
    """Raise InputError for a batch of a trained family that its job's GPUs cannot share equally."""
    settings, paradigms = study.training_of(family), trained(study.families[family])
    own = study.families[family].overrides
    sft, grpo = settings.sft, settings.grpo
    devices = max(1, gpus(study, "train_sft"))
    if "sft" in paradigms and sft.batch_size % (sft.micro_batch_size * devices):
        where = f"families.{family}.overrides." if own.sft else ""
        raise InputError(
            f"{where}sft.batch_size: {sft.batch_size} is not a multiple of sft.micro_batch_size: "
            f"{sft.micro_batch_size} times resources.train_sft.gpu: {devices}. Change one of them."
        )
    devices = gpus(study, "train_grpo") if grpo.device == "cuda" else 1
    if "rl" in paradigms and grpo.mini_batch_size * grpo.rollouts % devices:
        where = f"families.{family}.overrides." if own.grpo else ""
        raise InputError(
            f"{where}grpo.mini_batch_size: {grpo.mini_batch_size} times grpo.rollouts: "
            f"{grpo.rollouts} is not a multiple of resources.train_grpo.gpu: {devices}. Change one "
            "of them."
        )


def check_world_corpus(study: StudyConfig, name: str, file: str, made: CorpusTokensConfig) -> None:
    """Raise InputError if a synthetic corpus holds fewer tokens than the study reads from it."""
    corpus = study.corpus
    length, sources = corpus.sequence_length, len(corpus.sources)
    sizes = [total // sources // length for total in (corpus.tokens, corpus.heldout_tokens)]
    wanted = sum(sizes) * length
    kind = PurePosixPath(file).stem
    if getattr(made, kind, wanted) < wanted:
        raise InputError(
            f"corpus.tokens: {corpus.tokens} and corpus.heldout_tokens: {corpus.heldout_tokens} "
            f"take {wanted} tokens from corpus.sources.{name}, but world.corpus_tokens.{kind} is "
            f"{getattr(made, kind)}. Raise world.corpus_tokens.{kind}, or lower corpus.tokens or "
            "corpus.heldout_tokens."
        )


def gpus(study: StudyConfig, rule: str) -> int:
    """Return the GPUs that the configuration requests for one job of a rule."""
    request = study.resources.get(rule)
    return request.gpu or 0 if request else 0


def read_study(config: dict[str, Any]) -> StudyConfig:
    """Return the configuration as an object, and fill in its defaults in place.

    Raises InputError for the first error: one line with the key, what was found and what is
    allowed.
    """
    try:
        study = StudyConfig.model_validate(config)
    except ValidationError as error:
        raise InputError(first_fault(error, config, StudyConfig.model_json_schema())) from error
    config.update(study.plain())
    return study
