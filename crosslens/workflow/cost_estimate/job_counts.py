"""Count the jobs of each rule."""

from crosslens.config import crosscoder_design, study_design
from crosslens.config.figure_list import FIGURES
from crosslens.config.locations import benchmark_files, downloads, is_synthetic, named_paths
from crosslens.config.study import StudyConfig


def jobs(study: StudyConfig) -> dict[str, int]:
    """Return the number of jobs of each rule for the default target, from scratch."""
    families = list(study.families.values())
    shards, settings = study.activations.shards, study.crosscoder
    sets = sum(len(crosscoder_design.extraction_sets(family, settings)) for family in families)
    crosscoders = sum(len(crosscoder_design.crosscoders(family, settings)) for family in families)
    groups = sum(len(crosscoder_design.groups(family, settings)) for family in families)
    trained = {
        p: sum(p in study_design.trained(f) for f in families) for p in study_design.PARADIGMS
    }
    trains = study_design.trains(study.families)
    once: tuple[str, ...] = (
        "score_specificity",
        "measure_overlap",
        "measure_rank_shifts",
        "find_critical_samples",
    )
    once += ("tokenize_corpus", "count_tokens", "start_family")
    once += ("answer_questions", "assess_interventions")
    once += ("measure_splice", "measure_gap", "collect_feature_cards", "write_feature_page")
    trios = len(crosscoder_design.trios(settings)) * len(families)
    seeds = (1 + settings.extra_seeds) * len(families)
    matched = "drift_matched" in settings.evidence
    count = world_jobs(study) | {
        "import_model": sum(len(study_design.given(family)) for family in families),
        "download_source": len(downloads(study)),
        "prepare_benchmark": sum(
            file != study.evaluation.files[task].dataset
            for task, file in benchmark_files(study).items()
        ),
        "prepare_problems": int(trains),
        "generate_traces": study.traces.shards if trains and study.traces else 0,
        "filter_traces": int(trains),
        "train_sft": trained["sft"],
        "count_prompts": trained["rl"],
        "train_grpo": trained["rl"],
        "generate_answers": len(study_design.FINAL) * len(families) * len(sampled_by_vllm(study)),
        "evaluate_model": len(study_design.FINAL) * len(families),
        **dict.fromkeys(once, len(families)),
        "match_drift": matched * len(families),
        "extract_activations": sets * (shards + 1),
        "train_crosscoders": groups * shards,
        "evaluate_crosscoder": crosscoders,
        **dict.fromkeys(("score_features", "select_features"), trios),
        "intervene": 2 * (seeds + len(families) * topk_edited(study))
        + len(families) * sft_control(study),
        "draw_figure": len(FIGURES),
        "draw_training_curves": 1 + sum(map(bool, trained.values())),
        **{"tabulate_accuracy": 1, "tabulate_interventions": 4, "write_report": 1, "all": 1},
    }
    return {rule: number for rule, number in count.items() if number}


def world_jobs(study: StudyConfig) -> dict[str, int]:
    """Return the number of jobs that make synthetic data; none if the study does not read them."""
    paths = {path for _, path in named_paths(study) if is_synthetic(path, study)}
    world = f"results/{study.study}/world"
    teacher = f"{world}/teacher" in paths and study_design.trains(study.families)
    counts = {"pretrain_base": f"{world}/base" in paths, "pretrain_teacher": teacher}
    return {"build_world": int(bool(paths))} | {rule: int(is_in) for rule, is_in in counts.items()}


def sampled_by_vllm(study: StudyConfig) -> list[str]:
    """Return the math sets whose answers vLLM samples, each in a separate job."""
    return list(study.evaluation.math) if study.evaluation.backend == "vllm" else []


def sft_control(study: StudyConfig) -> int:
    """Return 1 where features are edited in the SFT model too."""
    return int(study.causal_protocol.sft_control)


def topk_edited(study: StudyConfig) -> int:
    """Return 1 where features of a crosscoder with BatchTopK are edited too."""
    return int("batch_topk" in study.crosscoder.evidence)
