"""Check a configuration against the workflow: names of rules, and requests for GPUs."""

from crosslens.config.figure_list import FIGURES, TABLES
from crosslens.config.messages import suggestion
from crosslens.config.study import StudyConfig
from crosslens.io.errors import InputError

GPU_RULES = (  # their scripts hold GPUs (crosslens.workflow.gpu_locks); the others compute on CPUs
    *("generate_traces", "train_sft", "train_grpo", "generate_answers", "evaluate_model"),
    "extract_activations",
    *("match_drift", "train_crosscoders", "evaluate_crosscoder", "answer_questions"),
    *("score_features", "intervene", "measure_splice", "measure_gap"),
    *("collect_feature_cards", "export_features"),
)
RENAMED_RULES = {  # old name -> new name
    "rank_shifts": "measure_rank_shifts",
    "read_questions": "answer_questions",
    "report_data_path": "count_tokens",
}


def check_names(study: StudyConfig, rules: set[str]) -> None:
    """Raise InputError for a family that has the name of a target of the workflow."""
    drawn = {*FIGURES, *(f"table{n}" for n in TABLES)}
    targets = {"all", "doctor", "downloads", "plan", *rules, *drawn}
    for family in targets & study.families.keys():
        raise InputError(f"families.{family}: a target has this name. Rename the family.")


def check_resources(study: StudyConfig, rules: set[str], limit: int | None) -> None:
    """Raise InputError for an unknown rule, or for GPUs requested by a rule that runs on CPUs.

    `limit` is N of `--resources gpu=N`, or None. Snakemake would silently lower larger requests.
    """
    for rule, request in study.resources.items():
        if new := RENAMED_RULES.get(rule):
            raise InputError(f"resources.{rule}: this rule has a new name. Rename it to {new}.")
        if rule not in rules:
            raise InputError(f"resources.{rule}: unknown rule. {suggestion(rule, sorted(rules))}")
        if request.gpu and rule not in GPU_RULES:
            raise InputError(
                f"resources.{rule}.gpu: the rule runs on CPUs. Remove the key; rules that use GPUs "
                f"are {', '.join(GPU_RULES)}."
            )
        if limit is not None and (request.gpu or 0) > limit:
            raise InputError(
                f"resources.{rule}.gpu: the rule needs {request.gpu} GPUs, but --resources "
                f"gpu={limit} allows {limit}. Raise the limit, or lower the request."
            )
