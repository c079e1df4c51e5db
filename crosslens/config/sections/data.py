"""Training problems, the teacher's traces of them, and the corpus for activations."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from crosslens.config.sections.base import (
    BackendOptions,
    BatchSize,
    Revision,
    Section,
    SourceName,
    Text,
    TokenCount,
    refuse_vllm_options,
    section_from_text,
)
from crosslens.io.errors import InputError

ProblemCount = Annotated[int, Field(ge=1, le=10**8)]


class DatasetSource(Section):
    """A file with one JSON object a line, or a data set."""

    dataset: Text = Field(
        description="Data set on the hub (with revision), or a local file or directory (without)."
    )
    revision: Revision | None = Field(
        None, description="Commit, tag or branch of the data set on the hub; main follows the hub."
    )
    files: Text | None = Field(
        None,
        description="Pattern of the data set's files to read; .jsonl, .json and .parquet are read.",
    )


Source = Annotated[DatasetSource, section_from_text("dataset", DatasetSource)]
Sources = dict[SourceName, Source]


class ProblemsConfig(Section):
    """The list of training problems for SFT and RL, needed where a family is trained
    (prepare_problems)."""

    sources: Annotated[Sources, Field(min_length=1)] = Field(
        description="Name of each source and its data, with a problem and an answer or a boxed "
        "solution; the first of equal problems is kept (prepare_problems).",
    )
    exclude: Sources = Field(
        {},
        description="Benchmarks whose problems are removed from the list (prepare_problems).",
    )
    ngram: int = Field(
        13,
        ge=4,
        le=1000,
        description="A problem is removed only if it has at least this number of consecutive words "
        "in common with an excluded one (prepare_problems).",
    )
    lcs_fraction: float = Field(
        0.6,
        gt=0,
        le=1,
        description="A problem is removed only if its longest common subsequence of words with an "
        "excluded one is at least this fraction of the shorter problem (prepare_problems).",
    )
    expected_count: Annotated[list[ProblemCount], Field(min_length=2, max_length=2)] = Field(
        [1, 10**8],
        description="Smallest and largest expected number of problems; any other number is a "
        "warning in the log, data/problems.json and the report (prepare_problems).",
    )

    limit: Literal["all"] | ProblemCount = Field(
        "all",
        description="Largest number of problems, drawn at random by the study's seed from those "
        "that remain (prepare_problems).",
    )

    @model_validator(mode="after")
    def fewest_first(self) -> Self:
        """Raise InputError if the range is empty."""
        least, most = self.expected_count
        if least > most:
            raise InputError(
                f"expected_count: {least} is more than {most}. Write the smaller number first."
            )
        return self


class TracesConfig(Section):
    """Worked solutions that SFT learns from, of a teacher or the problems' own, needed where a
    family is trained (generate_traces, filter_traces)."""

    teacher: Text | None = Field(
        None,
        description="The teacher in Hugging Face's layout, with a chat tokenizer: a directory or, "
        "with revision, its name on the hub; not used with backend: solutions (generate_traces).",
    )
    revision: Revision | None = Field(
        None,
        description="Commit, tag or branch of the model on the hub; main follows the hub "
        "(generate_traces).",
    )
    backend: Literal["transformers", "vllm", "solutions"] = Field(
        "transformers",
        description="Sampling backend: transformers (CPU or one GPU) or vLLM. With solutions, the "
        "solutions that come with the problems are used, and nothing is sampled (generate_traces).",
    )
    temperature: float = Field(
        1.0,
        ge=0,
        le=2,
        description="Sampling temperature; 0 takes the most probable token (generate_traces).",
    )
    max_new_tokens: TokenCount = Field(
        16384,
        description="Longest trace, in tokens; longer traces are dropped (generate_traces).",
    )
    batch_size: BatchSize = Field(
        64,
        description="Problems sampled before their traces are written; a killed job repeats at "
        "most one batch (generate_traces).",
    )
    shards: int = Field(
        1, ge=1, le=100_000, description="Number of jobs that share the problems (generate_traces)."
    )
    vllm_sampling: BackendOptions = Field(
        {},
        description="Further SamplingParams of vLLM (top_p, top_k, ...), passed on unchanged "
        "(generate_traces).",
    )
    vllm_engine: BackendOptions = Field(
        {},
        description="Further arguments of vLLM's engine (max_model_len, ...), passed on unchanged "
        "(generate_traces).",
    )

    @model_validator(mode="after")
    def only_sampling_has_a_teacher(self) -> Self:
        """Raise InputError for a missing teacher, and for sampling keys if nothing is sampled."""
        if self.backend != "solutions":
            if self.teacher is None:
                raise InputError(
                    f"teacher: missing, but backend is {self.backend}. Give a model, or set "
                    "backend: solutions if the problems come with solutions."
                )
            return self
        for key, field in type(self).model_fields.items():
            value = getattr(self, key)
            if key not in ("backend", "shards") and value != field.default:
                raise InputError(
                    f"{key}: {value} has no effect, as nothing is sampled with backend: "
                    "solutions. Remove the key, or set another backend."
                )
        return self

    @model_validator(mode="after")
    def only_vllm_takes_its_options(self) -> Self:
        """Raise InputError for options of vLLM where it is not used."""
        refuse_vllm_options(
            self.backend, vllm_sampling=self.vllm_sampling, vllm_engine=self.vllm_engine
        )
        return self


class CorpusConfig(Section):
    """The text that activations are read on, packed and shuffled once (tokenize_corpus)."""

    sources: Annotated[Sources, Field(min_length=1)] = Field(
        description="Name of each source and its data, with text or conversations; all sources "
        "give the same number of tokens, from documents drawn at random (tokenize_corpus).",
    )
    tokens: int = Field(
        ge=1000,
        le=10**10,
        description="Tokens of all training shards together (tokenize_corpus); the paper has 400 "
        "million.",
    )
    heldout_tokens: int = Field(
        ge=1000,
        le=10**9,
        description="Tokens of the held-out shard that crosscoders are evaluated on "
        "(tokenize_corpus, evaluate_crosscoder).",
    )
    sequence_length: int = Field(
        2048,
        ge=8,
        le=65536,
        description="Tokens of one packed sequence (tokenize_corpus, extract_activations); "
        "positions are stored in 16 bits.",
    )

    @model_validator(mode="after")
    def heldout_shard_has_a_sequence(self) -> Self:
        """Raise InputError if the held-out shard is too small for a sequence of each source."""
        sources, length = len(self.sources), self.sequence_length
        if self.heldout_tokens < sources * length:
            raise InputError(
                f"heldout_tokens: {self.heldout_tokens} tokens are too few for one sequence of "
                f"sequence_length: {length} from each of {sources} sources. Raise heldout_tokens "
                f"to at least {sources * length}."
            )
        return self
