"""What is measured on trained crosscoders, and which families the figures show."""

from typing import Annotated, Literal

from pydantic import Field

from crosslens.config.sections.base import Fraction, Section, Text


class MetricsConfig(Section):
    """What is measured on crosscoders and their features (score_specificity, measure_overlap,
    measure_rank_shifts, measure_splice, collect_feature_cards, export_features)."""

    top_features: int = Field(
        50,
        ge=1,
        le=2**20,
        description="Number of features with the highest NRN in Figures 2, 7 and 8 to 13 "
        "(measure_overlap, measure_rank_shifts).",
    )
    alive_threshold: Fraction = Field(
        1e-5,
        description="Firing rate on the held-out shard above which a feature is alive "
        "(evaluate_crosscoder).",
    )
    match_cosine: Fraction = Field(
        0.7,
        description="Decoder vectors with at least this cosine count as the same feature in the "
        "overlap by direction (measure_overlap).",
    )
    splice_tokens: int = Field(
        65536,
        ge=1,
        le=10**9,
        description="Held-out tokens on which the three-model crosscoder's output replaces the "
        "models' activations (measure_splice); on CPUs the output layer of a large vocabulary is "
        "slow.",
    )
    feature_cards: int = Field(
        60,
        ge=1,
        le=2**12,
        description="Features with a card for each reason: specific to base, to SFT, to RL, "
        "selected in all or most tasks, matched controls of these, drawn at random "
        "(collect_feature_cards).",
    )
    neuronpedia_creator: Text = Field(
        "crosslens",
        description="Id of the user of a Neuronpedia instance to whom exported features belong "
        "(export_features).",
    )


class GeneralizationConfig(Section):
    """Selection of generalization features, Eq. 11 (score_features, select_features)."""

    readout: Literal["branch", "branch_scaled", "joint", "swap"] = Field(
        "branch",
        description="Encoder input for the features of one model. branch: its own activations, as "
        "in the paper; branch_scaled: the same, times the number of models; joint: all models' "
        "activations; swap: its own in place of all models'. The last three are controls "
        "(score_features, intervene).",
    )
    score_fraction: Fraction = Field(
        0.2,
        description="Fraction of the task's maximum score above which a feature is selected "
        "(select_features).",
    )
    min_firing_rate: Fraction = Field(
        0.1,
        description="Features that fire at least at this rate in RL, on the tasks' critical "
        "samples, are the pool of active control sets (select_features).",
    )


class InterventionsConfig(Section):
    """Zeroing selected features in the RL model and amplifying them in the base model
    (intervene)."""

    amplify_to: float = Field(
        3.0,
        ge=0,
        le=10**6,
        description="Value that selected features are set to in the base model (intervene).",
    )
    random_sets: int = Field(
        5,
        ge=1,
        le=1000,
        description="Random control sets of equal size, drawn from each of two pools "
        "(select_features, intervene).",
    )


class FiguresConfig(Section):
    """The families that the paper's figures and tables show (rules/targets.smk)."""

    families: Annotated[list[Text], Field(min_length=3, max_length=3)] = Field(
        description="The three families in place of the paper's Qwen3-4B-Base, Qwen2.5-7B and "
        "Llama-3.1-8B-Instruct.",
    )
