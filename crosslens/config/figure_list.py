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
        "the L1 penalty (latent scaling). Dotted: the same crosscoder where the models of each row "
        "are in random order, so that nothing is specific to a model. False share: the fraction of "
        "the features above 0.8 that this null has, too: (1 + its count) / count.",
    ),
    "draw_overlap": Drawing(
        "metrics/{family}/overlap.csv",
        "Overlap of the top features by NRN between the checkpoints of each paradigm: by feature "
        "index as in the paper, and by decoder direction (decoder vectors matched one to one, with "
        "a cosine of at least `metrics.match_cosine`). Below each panel: the last checkpoint "
        "compared with itself, its crosscoder trained with another seed (another initialization "
        "and order of rows). This shows how well the top list is reproduced at all. It is no lower "
        "bound for the checkpoints: their crosscoders share one initialization and read the same "
        "rows in the same order, so neighbouring checkpoints can overlap more. By index it is near "
        "chance, because another initialization numbers the features differently.",
    ),
    "draw_mas": Drawing(
        "metrics/{family}/mas.csv",
        "Distribution of the model attribution score (MAS, Eqs. 8 to 10) over the features of the "
        "three-model crosscoder. Purple: MAS*, corrected for the shrinkage of the L1 penalty. "
        "Dotted: the same crosscoder where the models of each row are in random order. False "
        "share: the fraction of the features above 0.8 that this null has, too.",
    ),
    "draw_feature_overlap": Drawing(
        "generalization/{family}/{trio}/features.json",
        "Overlap of the tasks' generalization features: the fraction of the smaller of two sets "
        "that is also in the other. In brackets: the number of selected features. Below: the mean "
        "of this fraction for features selected by contributions on other questions, one point for "
        "each seed. If features that RL raises on other questions overlap as much, the overlap is "
        "no sign of generalization.",
    ),
    "draw_rank_shifts": Drawing(
        "metrics/{family}/rank-shifts.csv",
        "Rank shifts of the top features by NRN between adjacent checkpoints, positive where a "
        "feature rises. One column for each feature, ordered by first appearance in a top list and "
        "then by rank; the CSV names the features. Blank (grey): outside the top list of one of "
        "the two checkpoints.",
    ),
    "draw_controls": Drawing(
        "interventions/{family}/effects.csv",
        "Net change of accuracy on all questions by the selected features, by matched controls, "
        "and by other edits of the same size; one point for each edit. The other model's "
        "complete state is the ceiling.",
    ),
    "draw_dose_curves": Drawing(
        "interventions/{family}/comparisons.csv",
        "Effect of the selected features by dose, on the selection tasks. Each question is edited "
        "by features that were selected on other questions. Dashed: the mean of matched controls, "
        "scaled to the same size of the edit; shaded: their range.",
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

_CHANGE = "Change in points of accuracy on critical samples (net: on all questions)"
_INTERVENTIONS = (
    "Change of accuracy in percentage points on the generalization-critical samples, with 95% "
    "intervals. For random control sets: the mean over the sets and their range. Net: on all "
    "questions. Last set: features selected on other questions than the ones they are edited in, "
    "and their matched controls."
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
        "unseen",
    ),
    5: Table(
        "tabulate_interventions",
        f"{_CHANGE}, held-out tasks: features amplified in base",
        _INTERVENTIONS,
        "base",
        "unseen",
    ),
}

CURVES = {
    "sft-loss": Curves("sft", "SFT: loss on the traces."),
    "grpo-curves": Curves(
        "rl", "GRPO: reward, response length, clip fraction and entropy of each step."
    ),
    "crosscoder-training": Curves(
        None,
        "Crosscoders: the final two-model crosscoders and the three-model crosscoder in colour, "
        "earlier checkpoints and other seeds in grey. The reconstruction error is summed and FVE "
        "is averaged over a crosscoder's models. The dead fraction counts features that no "
        "training row activates between two points of the curve; in the report it counts features "
        "that are not alive on the held-out shard.",
    ),
}
