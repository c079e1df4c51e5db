"""The figures and tables of a study: what each shows, of which families, and its caption.

The rules, the targets, the report and the documentation read these lists. Numbers are the paper's.
Figures without a number are ours.
"""

from typing import NamedTuple


class Drawing(NamedTuple):
    """A kind of figure, under the name of the function that draws it."""

    source: str  # what it is drawn from below results/{study}/: one file for each family and {trio}
    caption: str


class Figure(NamedTuple):
    """A figure, under the name of its files."""

    drawing: str  # a key of DRAWINGS
    families: tuple[int, ...] | None  # positions in `figures.families`; None: every family
    title: str
    paradigm: str | None = None  # of figures that show one


class Table(NamedTuple):
    """A table of the paper."""

    rule: str
    title: str
    caption: str
    target: str | None = None  # the model that an intervention edits
    tasks: str | None = None  # the list of `evaluation` that an intervention is measured on


class Curves(NamedTuple):
    """The training curves of one kind of training."""

    paradigm: str | None  # None: of the crosscoders, which every study trains
    caption: str


DRAWINGS = {
    "draw_nrn": Drawing(
        "metrics/{family}/nrn.csv",
        "Distribution of the normalized relative norm (NRN, Eq. 4) over the features of the "
        "crosscoders of base and the final SFT or RL model. 1: only in the tuned model; 0: only in "
        "base. Bars: features that are alive on held-out text. Grey: all features. Black line: the "
        "same crosscoder trained with another seed. Purple: NRN*, corrected for the shrinkage of "
        "the L1 penalty (latent scaling). Dotted: a null, the same crosscoder trained with the "
        "models of each row in random order, so that no feature is specific to a model. False "
        "fraction: an estimate of the fraction of features above 0.8 that the null explains, (1 + "
        "the null's count) / count.",
    ),
    "draw_overlap": Drawing(
        "metrics/{family}/overlap.csv",
        "Overlap of the top features by NRN between the checkpoints of each paradigm. Features are "
        "matched by index, as in the paper, and by decoder direction (one to one, with a cosine of "
        "at least `metrics.match_cosine`). Below each panel: two crosscoders of the last "
        "checkpoint that differ only in their seed (initialization and order of rows). This shows "
        "how well a top list is reproduced at all. It is not a lower bound for checkpoints. Their "
        "crosscoders share one initialization and one order of rows, so adjacent checkpoints can "
        "overlap more. By index, two seeds overlap near chance, because they number the features "
        "differently. In one crosscoder, where trained: base and all checkpoints share its "
        "features, so a feature is the same at every checkpoint. Its null: each feature's decoder "
        "norms are shuffled over models, so that lists have in common only "
        "what a shared base and the spread of norms give (mean and 95% quantile).",
    ),
    "draw_mas": Drawing(
        "metrics/{family}/mas.csv",
        "Distribution of the model attribution score (MAS, Eqs. 8 to 10) over the features of the "
        "three-model crosscoder. Purple: MAS*, corrected for the shrinkage of the L1 penalty. "
        "Dotted: a null, the same crosscoder trained with the models of each row in random order. "
        "False fraction: an estimate of the fraction of features above 0.8 that the null explains.",
    ),
    "draw_feature_overlap": Drawing(
        "generalization/{family}/{trio}/features.json",
        "Overlap of the generalization features of two tasks: the fraction of the smaller set that "
        "is also in the larger one. In brackets: the number of selected features. Below: the mean "
        "overlap of features selected by contribution on four kinds of questions, one point for "
        "each seed. If the overlap is as large on questions that RL does not win, it is not a sign "
        "of generalization.",
    ),
    "draw_rank_shifts": Drawing(
        "metrics/{family}/rank-shifts.csv",
        "Change of rank of the top features by NRN between adjacent checkpoints, positive where a "
        "feature rises. Each column is a feature. Columns are ordered by first appearance in a top "
        "list, then by rank; the CSV has the feature numbers. Grey: outside the top list of one of "
        "the two checkpoints. In one crosscoder, where trained: base and all checkpoints share its "
        "features.",
    ),
    "draw_controls": Drawing(
        "interventions/{family}/effects.csv",
        "Net change of accuracy on all questions that are edited. Compared are edits of the "
        "selected features, of matched controls, and other edits, scaled to the same size by a "
        "factor between 1/10 and 10. Edits that needed more are drawn, but the verdicts leave them "
        "out. Each point is one edit. Replacing the state by the other model's complete state is "
        "the ceiling.",
    ),
    "draw_dose_curves": Drawing(
        "interventions/{family}/comparisons.csv",
        "Effect of the selected features by dose, on the selection tasks. The features edited on a "
        "question were selected on other questions. Dashed: mean of matched controls, scaled to "
        "the same size of the edit. Shaded: range of the controls.",
    ),
}

FIGURES = {
    "figure1": Figure("draw_nrn", (0, 1), "NRN of the final SFT and RL models against base"),
    "figure2": Figure(
        "draw_overlap", (0, 1), "Overlap of the most specific features between checkpoints"
    ),
    "figure3": Figure("draw_mas", (0,), "MAS over base, SFT and RL"),
    "figure4": Figure(
        "draw_feature_overlap", (0, 1), "Overlap of generalization features between tasks"
    ),
    "figure5": Figure("draw_mas", (1,), "MAS over base, SFT and RL, second family"),
    "figure6": Figure(
        "draw_nrn", (2,), "NRN of the final SFT and RL models against base, third family"
    ),
    "figure7": Figure("draw_overlap", (2,), "Overlap between checkpoints, third family"),
    "figure8": Figure("draw_rank_shifts", (0,), "Rank shifts during SFT", "sft"),
    "figure9": Figure("draw_rank_shifts", (0,), "Rank shifts during RL", "rl"),
    "figure10": Figure("draw_rank_shifts", (1,), "Rank shifts during SFT, second family", "sft"),
    "figure11": Figure("draw_rank_shifts", (1,), "Rank shifts during RL, second family", "rl"),
    "figure12": Figure("draw_rank_shifts", (2,), "Rank shifts during SFT, third family", "sft"),
    "figure13": Figure("draw_rank_shifts", (2,), "Rank shifts during RL, third family", "rl"),
    "controls": Figure("draw_controls", None, "Selected features and their controls"),
    "dose-curves": Figure("draw_dose_curves", None, "Effect of the selected features by dose"),
}

_CHANGE = "Change of accuracy in points on critical samples (net: on all questions)"
_INTERVENTIONS = (
    "Change of accuracy in percentage points on the generalization-critical samples, with 95% "
    "intervals. For random control sets: mean and range over the sets. Net: change on all "
    "questions. Last set: features that were selected on questions other than those they are "
    "edited on, and their matched controls."
)

TABLES = {
    1: Table("tabulate_accuracy", "Accuracy in percent", "Accuracy in percent, 95% intervals."),
    2: Table(
        "tabulate_interventions",
        f"{_CHANGE}: features zeroed in RL",
        _INTERVENTIONS,
        "rl",
        "tasks",
    ),
    3: Table(
        "tabulate_interventions",
        f"{_CHANGE}: features amplified in base",
        _INTERVENTIONS,
        "base",
        "tasks",
    ),
    4: Table(
        "tabulate_interventions",
        f"{_CHANGE}, held-out tasks: features zeroed in RL",
        _INTERVENTIONS,
        "rl",
        "heldout_tasks",
    ),
    5: Table(
        "tabulate_interventions",
        f"{_CHANGE}, held-out tasks: features amplified in base",
        _INTERVENTIONS,
        "base",
        "heldout_tasks",
    ),
}

CURVES = {
    "sft-loss": Curves("sft", "SFT: loss on the traces."),
    "grpo-curves": Curves(
        "rl", "GRPO: reward, response length, clip fraction and entropy of each step."
    ),
    "crosscoder-training": Curves(
        None,
        "Training of the crosscoders. Colour: the final two-model crosscoders and the three-model "
        "crosscoder. Grey: earlier checkpoints and other seeds. Over a crosscoder's models, the "
        "reconstruction error is a sum and FVE a mean. Dead fraction: features that no training "
        "row activates between two points of the curve. The table of the report counts dead "
        "features on the held-out shard instead.",
    ),
}
