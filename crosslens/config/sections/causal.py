"""The causal protocol: doses, controls, and the hypotheses that are primary."""

from typing import Annotated, Literal

from pydantic import Field

from crosslens.config.sections.base import Fraction, Key, Section

Dose = Annotated[float, Field(ge=0, le=10**6)]
SetCount = Annotated[int, Field(ge=1, le=9999)]


class HypothesisConfig(Section):
    """A claim about one edit of the primary features, those selected in all tasks or most
    consistent over tasks, tested against matched controls (assess_interventions)."""

    edit: Literal["zero", "amplify"] = Field(
        description="Zero the features in the RL model, or amplify them in the base model.",
    )
    questions: Literal["tasks", "held_out"] = Field(
        description="The selection tasks, each question edited by features that were selected on "
        "other questions, or the held-out tasks of evaluation.heldout_tasks.",
    )
    measure: Literal["net", "margin", "directedness", "critical"] = Field(
        "net",
        description="Net change of accuracy, mean change of the margin of the correct choice, "
        "fraction of changed answers that are the other model's, or change on critical samples.",
    )


PAPERS_CLAIMS = {
    f"{edit}_{questions}": HypothesisConfig(edit=edit, questions=questions)
    for questions in ("tasks", "held_out")
    for edit in ("zero", "amplify")
}


class CausalProtocolConfig(Section):
    """Whether selected features cause what RL gained: doses, controls, primary hypotheses
    (score_features, select_features, intervene, assess_interventions)."""

    score: Literal["contribution", "paper"] = Field(
        "contribution",
        description="Score for selecting features: contributions f|D|, which do not depend on the "
        "scale of a feature, or the paper's (select_features).",
    )
    least_features: Annotated[int, Field(ge=0, le=9999)] = Field(
        3,
        description="Least number of features of a primary set: the features selected in all tasks "
        "are topped up to it by those most consistent over tasks, whose lowest score relative to a "
        "task's maximum is highest, and above 0; with 0 or 1 a set may be empty or have one "
        "feature, for which there are few control sets (select_features).",
    )
    dose_unit: Literal["p99", "mean_active"] = Field(
        "p99",
        description="Unit of amplification: the 99th percentile or the mean of a feature's "
        "activations above 0 in RL, at final tokens (in SFT for features selected for SFT) "
        "(score_features).",
    )
    amplify: Dose = Field(
        1.0,
        description="Value that features are set to in the base model, in dose units (intervene).",
    )
    matched_sets: SetCount = Field(
        99,
        description="Control sets of each primary set, matched feature by feature and scaled to an "
        "edit of the same size. The smallest possible p-value is 1 / (1 + this number), so a "
        "supported hypothesis needs (number of hypotheses) / alpha - 1 sets. Fewer are drawn if "
        "too few features are similar enough (select_features, intervene).",
    )
    exploratory_sets: SetCount = Field(
        19,
        description="Control sets of each other set and of edits of SFT; number of random "
        "directions (select_features, intervene).",
    )
    multiply: list[Dose] = Field(
        [0.0, 0.25, 0.5, 2.0, 4.0],
        description="Dose curve: factors of a feature's own activation (intervene).",
    )
    clamp: list[Dose] = Field(
        [0.25, 0.5, 1.0, 2.0],
        description="Dose curve: values that features are set to, in dose units (intervene).",
    )
    curve_sets: SetCount = Field(
        5, description="Control sets of each dose of the curves (intervene)."
    )
    sft_control: bool = Field(
        True,
        description="Whether to zero features selected for RL in the SFT model, too (intervene).",
    )
    alpha: Fraction = Field(
        0.05,
        description="Family-wise error rate of the primary hypotheses (assess_interventions).",
    )
    smallest_effect: Fraction = Field(
        0.1,
        description="Smallest effect of interest, as a fraction of what RL gained over base on the "
        "same questions; a hypothesis is not supported if the interval of its effect or of the "
        "excess over controls excludes it. If RL gained nothing, hypotheses are undecided "
        "(assess_interventions).",
    )
    hypotheses: Annotated[dict[Key, HypothesisConfig], Field(min_length=1)] = Field(
        PAPERS_CLAIMS,
        description="The primary hypotheses, corrected for multiple testing; everything else is "
        "exploratory (assess_interventions).",
    )
