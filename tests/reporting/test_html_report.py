"""The report says what the numbers show, without outside references, empty results included."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers_cards import card_record
from helpers_effects import effect_row

from crosslens.analysis import gap_test
from crosslens.analysis.controls import PRIMARY
from crosslens.analysis.hypotheses import SUPPORTED, UNDECIDED
from crosslens.analysis.splice import COLUMNS
from crosslens.config.figure_list import FIGURES
from crosslens.config.study import StudyConfig
from crosslens.io.records import read_json, write_json, write_jsonl
from crosslens.reporting import html_report
from crosslens.reporting.feature_numbers import why_empty
from crosslens.reporting.feature_page import number
from crosslens.reporting.findings import about_gap, compare, findings
from crosslens.reporting.html_report import render_report, sentences
from crosslens.reporting.job_costs import is_from_this_config, seconds_by_rule
from crosslens.reporting.plotting.style import plt
from crosslens.reporting.summary import Study, summarize
from crosslens.reporting.tables import accuracy_rows, intervention_rows

TEMPLATES = Path(html_report.__file__).with_name("templates")
LABELS = {"tiny": "Tiny", "other": "Other"}
CONFIG = StudyConfig.model_validate(
    {
        "study": "t",
        "families": {name: {"label": label, "base": "b"} for name, label in LABELS.items()},
        "figures": {"families": ["tiny", "other", "tiny"]},
        "problems": {"sources": {"given": "problems.jsonl"}},
        "traces": {"teacher": "teacher"},
        "evaluation": {
            "tasks": ["sciq"],
            "heldout_tasks": ["piqa"],
            "math": {"math500": {"repeats": 1}},
            "files": {task: f"{task}.jsonl" for task in ("sciq", "piqa", "math500")},
        },
        "corpus": {"sources": {"given": "corpus.jsonl"}, "tokens": 10000, "heldout_tokens": 2048},
        "activations": {"shards": 2},
        "crosscoder": {"extra_seeds": 1},
        "grpo": {"device": "cpu"},
    }
)
NOTHING = {name: {"share": [None]} for name in ("won", "both_right", "both_wrong", "lost")}
ZEROED = {
    "target": "rl", "features": PRIMARY, "questions": "held_out", "measure": "net", "effect": None,
    "verdict": UNDECIDED, "reason": "no seed has both a selected set and controls",
}  # fmt: skip
DIFFERENCES = {
    "crosscoder": "sft-5", "specific": 7, "specific_matched": 3, "other": 90, "other_matched": 40,
    "differences": 80, "differences_matched": 60, "differences_specific": 5,
}  # fmt: skip
EVIDENCE = {
    "hypotheses": {"zero": ZEROED},
    "comparisons": {},
    "overlap": NOTHING,
    "features": [{"protocol": {"all": {"intersection": 0}}}],
}
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Balanced(HTMLParser):
    """Fails on an element that is closed without having been opened, or the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def task(accuracy: float, kind: str) -> dict:
    return {"accuracy": accuracy, "ci95": [accuracy, accuracy], "n": 10, "kind": kind}


def results_tree(root: Path) -> Study:
    """Write the complete results of two families, with an empty intersection."""
    rows = [effect_row("intersection", "selected", 0, 0.0, count=0)]
    rows += [effect_row("per_task", "selected", 0, -30.0, count=1)]
    rows += [effect_row("per_task", "random_alive", i, -float(i), count=1) for i in range(5)]
    evaluated, inputs = {}, []
    for family in LABELS:
        inputs += write_family(root, family, pd.DataFrame(rows))
        path = root / "features" / f"{family}.jsonl"
        write_jsonl(
            path, [card_record(5, ["most specific to SFT"]), card_record(6, ["drawn at random"])]
        )
        inputs.append(path)
        for variant, accuracy in (("base", 0.3), ("sft-5", 0.5), ("rl-5", 0.8)):
            tasks = {"math500": task(accuracy, "math"), "sciq": task(accuracy, "choice")}
            tasks["piqa"] = task(2.5 * accuracy - 0.5, "choice")
            evaluated[family, variant] = tasks
            path = root / "evaluation" / family / variant / "results.json"
            write_json(path, {"tasks": tasks, "model_hash": "0" * 64, "versions": {"torch": "1"}})
            inputs.append(path)
        path = root / "versions" / "train_sft" / f"{family}.json"
        write_json(path, {"Python": "3", "llamafactory": "0.9" if family == "tiny" else "1.0"})
        inputs.append(path)
    write_json(root / "data" / "manifest.json", {"problems": 10})
    write_json(
        root / "data" / "problems.json",
        {"warning": "problems.expected_count: 10 problems are left"},
    )
    (root / "benchmarks").mkdir()
    (root / "benchmarks" / "draw_nrn.tsv").write_text("s\th:m:s\tmax_rss\n2.5\t0:00:02\t100\n")
    write_tables(root, evaluated, pd.DataFrame(rows))
    write_figures(root / "figures")
    return Study(root, CONFIG, inputs)


def write_family(root: Path, family: str, interventions: pd.DataFrame) -> list[Path]:
    """Write one family's numbers but its accuracies; return those of its crosscoders."""
    write_metrics(root / "metrics" / family)
    write_interventions(root / "interventions" / family, family, interventions)
    critical = {"sciq": {"documents": 9, "critical": [], "lost": 1}}
    write_json(root / "generalization" / family / "critical.json", critical)
    data_path = {"tokens_requested": 600, "rows_written": 520, "layer": 2}
    data_path |= {"masked_rows": {"base": 0}, "zero_rows": {"base": 3, "rl-5": 0}}
    write_json(root / "activations" / family / "data-path.json", data_path)
    quality = {"fve": {"base": 0.9, "sft-5": 0.8}, "l0": 5.0, "dead_share": 0.1, "alive": 9}
    quality |= {"tokens_seen": 1000, "distinct_tokens": 500}
    tasks = {"sciq": {"selected": [1], "max_score": 0.2}}
    selected = {"tasks": tasks, "intersection": [], "majority": []}
    features = {"readout": "branch", "readouts": {"branch": selected}}
    features |= {"pools": {"alive": 12, "active": 7}}
    crosscoders = root / "crosscoders" / family
    found = {
        crosscoders / "sft-5-r0" / "quality.json": quality | {"fve_difference": {"sft-5": 0.25}},
        crosscoders / "sft-5-differences-r0" / "quality.json": quality
        | {"fve": {"sft-5-base": 0.75}, "l0": 2.0},
    }
    for trio in ("trio-r0", "trio-r1"):
        found[root / "generalization" / family / trio / "features.json"] = features
    for path, content in found.items():
        write_json(path, content)
    return list(found)


def write_interventions(directory: Path, family: str, rows: pd.DataFrame) -> None:
    """Write the edits of two models by two seeds, and the gap test; only "tiny" has a gain."""
    directory.mkdir(parents=True)
    every = [rows.assign(target=t, replicate=r) for t in ("base", "rl") for r in (0, 1)]
    pd.concat(every).to_csv(directory / "effects.csv")
    write_json(directory / "evidence.json", EVIDENCE)
    gap_rows(family == "tiny").to_csv(directory / "gap.csv")


def write_metrics(directory: Path) -> None:
    """Write what the report reads of NRN, its tails, MAS, spliced models and overlaps."""
    directory.mkdir(parents=True)
    nrn = {"crosscoder": ["sft-5", "rl-5"], "replicate": 0, "nrn": [0.9, 0.5], "alive": 1}
    nrn |= {
        "pattern": ["base+sft-5", "rl-5"],
        "nrn_star": [0.8, 0.5],
        "r2_base": 0.1,
        "r2_tuned": 0.9,
    }
    pd.DataFrame(nrn).to_csv(directory / "nrn.csv")
    tail_rows().to_csv(directory / "tails.csv")
    mas = {"crosscoder": "trio", "replicate": [0, 1], "alive": 1, "pattern": "base+sft-5+rl-5"}
    mas |= {"mas_base": 0.2, "mas_sft": 0.6, "mas_rl": 0.2}
    mas |= {f"mas_{model}_star": 1 / 3 for model in ("base", "sft", "rl")}
    pd.DataFrame(mas).to_csv(directory / "mas.csv")
    splice = [
        ["base", "none", 1.5, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, None],
        ["base", "zero", 9.5, 8.0, 7.5, 8.5, 7.0, 0.031, 0.0, None, None],
    ]
    pd.DataFrame(splice, columns=COLUMNS).to_csv(directory / "splice.csv")
    overlap = pd.DataFrame({"paradigm": ["sft", "rl"], "a": 5, "b": 5, "overlap": 7})
    kinds = [overlap.assign(kind=kind) for kind in ("index", "matched")]
    pd.concat(kinds).to_csv(directory / "overlap.csv")
    pd.DataFrame([DIFFERENCES]).to_csv(directory / "differences.csv", index=False)


def tail_rows() -> pd.DataFrame:
    """Return the tail of NRN* in three seeds, held against models swapped at random."""
    tail = {"crosscoder": "rl-5", "model": "tuned", "measure": "NRN*", "threshold": 0.8}
    tail |= {"alive": 90, "null_swapped": 2.0, "start_swapped": 0.75, "excess_swapped": 20.0}
    tail |= dict.fromkeys(("null_noise", "q_noise", "start_noise", "excess_noise"))
    tail |= {"replicate": [0, 1, 2], "count": [8, 3, 11]}
    return pd.DataFrame(tail | {"specific": [4, 1, 5], "q_swapped": [0.375, 1.0, 0.27]})


def gap_rows(gains: bool) -> pd.DataFrame:
    """Return the gap test's rows on all questions; without a gain nothing is recovered."""
    drawn = np.tile([0.4, 0.6 if gains else 0.4, 0.3, 0.45], (9, 1))
    row = {"model": "rl", "task": "all", "code": "swap", "questions": 20}
    row |= dict(zip(gap_test.ACCURACIES, drawn[0], strict=True))
    row |= gap_test.recovery(drawn[0], drawn)
    return pd.DataFrame([row, row | {"model": "sft"}], columns=gap_test.COLUMNS)


def write_tables(root: Path, evaluated: dict, interventions: pd.DataFrame) -> None:
    (root / "tables").mkdir()
    gains = dict.fromkeys(LABELS, {"math500": (30.0, 5.0), "sciq": (30.0, 5.0)})
    accuracy = accuracy_rows(evaluated, gains, ["math500", "sciq"], LABELS, {"table1": {}})
    accuracy.to_csv(root / "tables" / "table1.csv")
    rows = intervention_rows(dict.fromkeys(LABELS, interventions), ["sciq"], LABELS, {})
    for n in range(2, 6):
        rows.to_csv(root / "tables" / f"table{n}.csv")


def write_figures(directory: Path) -> None:
    directory.mkdir()
    for name in FIGURES:
        figure = plt.figure(figsize=(1, 1))
        figure.text(0.5, 0.5, "same" if name in ("figure3", "figure5") else name)
        figure.savefig(directory / f"{name}.png")
        plt.close(figure)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return results_tree(tmp_path / "results")


def test_the_page_is_whole_and_self_contained(study: Study) -> None:
    template = (TEMPLATES / "report.html.j2").read_text()
    paper = read_json(TEMPLATES / "paper.json")
    script = (TEMPLATES / "report.js").read_text()
    html = render_report(study, summarize(study), template, script, paper)
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    assert html.endswith("</html>\n")
    text = re.sub(r'data:image[^"]*|<script>.*</script>', "", html, flags=re.DOTALL)
    assert "http" not in text and "nan" not in text.lower()
    assert "Figures 3, 5" in html, "the same picture is shown once, under both numbers"
    assert "<figcaption>Selected features and their controls. Net change" in html
    assert "Selected in each: SciQ 1 (maximum score 0.2)." in html
    links = set(re.findall(r'href="#([^"]+)"', html))
    assert {"figure1", "figure4", "table4", "controls"} <= links
    assert links <= set(re.findall(r'id="([^"]+)"', html)), "every link has its place"
    assert html.index('id="claims"') < html.index('id="findings"'), "claims come first"
    claims = html[html.index('id="claims"') : html.index('id="findings"')]
    zeroing = "Zeroing the features most consistent over tasks lowers RL's accuracy"
    assert f"{zeroing} on held-out tasks" in claims.replace("&#39;", "'")
    assert "Holm" in claims
    assert claims.count('class="verdict ') == 6 and "no seed has both" in claims
    assert "+100.00 [+100.00, +100.00]" in claims, "MAS of both seeds"
    assert "<td>train_sft</td><td>Python 3, llamafactory 1.0, 0.9</td>" in html
    assert "Tiny 12 alive, 7 active; Other 12 alive, 7 active. A set larger" in " ".join(
        html.split()
    )
    words = " ".join(html.split())
    assert (
        "over base; where each model&#39;s own reconstruction (encoder input swap) replaces its "
        "stream, it gains +15.0" in words
    )
    assert "which is 75% of the gain [75%, 75%]. Most of RL&#39;s gain is" in words
    assert "SFT, as a control: +20.0, reconstructed +15.0." in words
    assert "Other, on all questions: RL gains +0.0 points" in words
    assert "RL&#39;s gain is not above 0 at this size, so there is no gain to keep." in words
    assert "<td>rows of zeros</td><td>base 3 </td>" in html
    assert "random alive features (5 sets)" in html
    assert "<td>rl-5</td><td>tuned</td><td>NRN*</td><td>8, 3, 11</td>" in html
    assert "<td>1000</td><td>500</td><td>20</td>" in html, "trained on, distinct, not used"
    assert "<td>+8.000<small>+7.500 to +8.500</small></td><td>7.000</td><td>3.1%</td>" in html
    assert (
        "<td>sft-5 − base</td><td>0.750</td><td>0.250</td><td>2.0</td><td>5.0</td>"
        "<td>60 of 80</td><td>5 of 80</td><td>3 of 7</td><td>40 of 90</td>"
    ) in html
    words = " ".join(text.split())
    assert "Qwen3-4B-Base zeroing −46.2 to −14.0 and amplifying +21.2 to +38.0, with 50" in words
    assert "Qwen2.5-7B zeroing −44.4 to −20.0 and amplifying +12.5 to +55.6, with 16" in words


def test_a_loss_of_rl_is_no_gain_to_keep() -> None:
    """RL loses 7.3 points, by an interval below 0: not "undecided at this size"."""
    numbers = {"gain": -7.3, "gain_low": -9.0, "gain_high": -5.0, "gain_spliced": -4.0}
    numbers |= {"base": 0.5, "tuned": 0.427, "base_spliced": 0.4, "tuned_spliced": 0.36}
    numbers |= {"recovered": None, "verdict": UNDECIDED, "task": "all", "code": "swap"}
    rows = [numbers | {"model": model} for model in ("rl", "sft")]
    text = about_gap("Tiny", rows)
    assert "RL lost accuracy at this size, so there is no gain to keep." in text
    rows[0] = rows[0] | {"gain": 0.2, "gain_high": 1.0}
    assert "RL's gain is not above 0 at this size, so there is no gain" in about_gap("Tiny", rows)


def test_the_summary_is_json_with_every_section(study: Study) -> None:
    summary = json.loads(json.dumps(summarize(study), allow_nan=False))
    family = summary["families"]["tiny"]
    assert family["critical"] == {"sciq": {"documents": 9, "critical": 0, "lost": 1}}
    effect = family["interventions"]["rl-5"]["sciq"]["per_task"]
    assert (effect["change"], effect["random_alive"]) == (-30.0, [0, -1, -2, -3, -4])
    assert (effect["net"], effect["won"], effect["lost"]) == (-5.0, 1, 4)
    assert family["evidence"] == EVIDENCE
    assert family["gap"][0]["recovered"] == pytest.approx(0.75)
    assert family["gap"][0]["verdict"] == SUPPORTED
    assert summary["families"]["other"]["gap"][0]["recovered"] is None
    assert [entry["verdict"] for entry in summary["verdicts"]] == [
        *[UNDECIDED] * 4,  # by MAS two seeds have the same value
        UNDECIDED,  # no question is critical
        UNDECIDED,
    ]
    assert family["features"]["readouts"]["branch"]["intersection"] == 0
    (tail,) = family["tails"]
    assert (tail["count"], tail["specific"]) == ([8, 3, 11], [4, 1, 5])
    assert tail["mean"] == pytest.approx(22 / 3)
    assert tail["ci95"] == pytest.approx([22 / 3 - 10.04, 22 / 3 + 10.04], abs=0.01)
    assert tail["swapped"] == {"null": 2.0, "q": 1.0, "start": 0.75, "excess": 20.0}
    assert "noise" not in tail
    assert family["differences"] == [DIFFERENCES]
    assert summary["seconds"]["draw_nrn"] == {
        "jobs": 1, "seconds": 2.5, "gpu_hours": 0.0, "max_rss_mib": 100.0,
    }  # fmt: skip


def test_versions_are_those_that_the_jobs_found(study: Study) -> None:
    write_json(study.root / "versions" / "train_grpo" / "gone.json", {"verl": "0"})
    summary = summarize(study)
    assert summary["versions"]["train_sft"] == {"Python": "3", "llamafactory": "1.0, 0.9"}
    assert summary["versions"]["evaluate_model"] == {"torch": "1"}
    assert summary["versions"]["write_report"]["torch"] == torch.__version__
    assert summary["versions"].keys() == {"train_sft", "evaluate_model", "write_report"}
    assert re.match(r"[0-9a-f]{40}( \(modified\))?$|unknown: ", summary["commit"])


def test_findings_claim_no_more_than_the_controls_allow(study: Study) -> None:
    said = " ".join(findings(summarize(study)))
    assert "SFT: +20.0 on math, +20.0 on selection tasks, +50.0 on held-out tasks" in said
    assert "on SciQ (gained 0, lost 1)" in said and "PIQA (gained" not in said
    own, alive = "features selected in the same task", "effect larger than all random alive sets in"
    none = "there is no random active set of this size"
    less = "smaller than all of them in"
    assert f"{own}, zeroed in RL: {none}; {alive} 1 of 1 tasks (SciQ -30.0), {less} 0;" in said
    assert f"{own}, amplified in base: {none}; {alive} 0 of 1 tasks, {less} 1 (SciQ" in said
    assert "chance gives at most 0.2 tasks in each direction" in said
    assert "The held-out tasks (PIQA) were not used for selection" in said
    assert said.count("effects of these sets") == 2, "one explanation for each family"


@pytest.mark.parametrize(
    ("change", "more", "less"), [(-7.5, 0, 0), (-10, 1, 0), (2.5, 0, 0), (5, 0, 1)]
)
def test_one_sample_is_no_effect(change: float, more: int, less: int) -> None:
    """Of 40 samples one is 2.5 points: beyond a control at -5 is what changes by 10 or more."""
    own = {"n_features": 2, "change": change, "random_alive": [0.0, -5.0], "random_active": []}
    said = compare("rl-5", {"sciq": {"n_samples": 40, "intersection": own}}, "intersection")
    assert re.search(rf"larger than all random alive sets in {more}\b", said), said
    assert re.search(rf"smaller than all of them in {less}\b", said), said


def test_what_a_family_of_another_configuration_left_is_not_read(study: Study) -> None:
    before = summarize(study)
    for name in ("crosscoders/tiny/sft-5-r9/quality.json", "evaluation/tiny/rl-1/results.json"):
        write_json(study.root / name, {})
    (study.root / "benchmarks" / "train_sft").mkdir()
    (study.root / "benchmarks" / "train_sft" / "gone.tsv").write_text("")
    assert summarize(study) == before


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("filter_traces.tsv", True),
        ("build_world.tsv", False),
        ("generate_traces/0.tsv", True),
        ("generate_traces/1.tsv", False),
        ("train_sft/tiny.tsv", True),
        ("train_sft/gone.tsv", False),
        ("draw_nrn/figure1.tsv", True),
        ("extract_activations/tiny/rl-1.tsv", True),
        ("extract_activations/tiny/sft-matched-1.tsv", False),  # no evidence is asked for
        ("extract_activations/tiny/rl-heldout.tsv", True),
        ("extract_activations/tiny/rl-2.tsv", False),
        ("extract_activations/tiny/rl-5-1.tsv", False),
        ("train_crosscoders/tiny/seed-1-1.tsv", True),
        ("train_crosscoders/tiny/seed-2-1.tsv", False),
        ("train_crosscoders/tiny/trio-2.tsv", False),
        ("train_crosscoders/tiny/swapped-0.tsv", False),
        ("evaluate_crosscoder/tiny/trio-r0.tsv", True),
        ("evaluate_crosscoder/tiny/rl-5-swapped-r0.tsv", False),
        ("score_features/tiny/trio-r2.tsv", False),
        ("intervene/tiny/trio-r1/rl-5.tsv", True),
        ("intervene/tiny/trio-r2/base.tsv", False),
        ("generate_answers/tiny/rl-5/aime.tsv", False),  # the backend is not vLLM
        ("evaluate_model/tiny/rl-5.tsv", True),
    ],
)
def test_benchmark_files_of_this_configuration(path: str, wanted: bool) -> None:
    assert is_from_this_config(Path(path), CONFIG) is wanted


def test_benchmark_files_of_answers_count_where_vllm_samples_them() -> None:
    asked = CONFIG.evaluation.model_copy(update={"backend": "vllm"})
    config = CONFIG.model_copy(update={"evaluation": asked})
    names = ("math500", "aime")
    found = [
        is_from_this_config(Path(f"generate_answers/tiny/rl-5/{name}.tsv"), config)
        for name in names
    ]
    assert found == [True, False]


def test_a_set_larger_than_the_pools_has_no_control() -> None:
    own = {"n_features": 9, "change": -50.0, "random_alive": [], "random_active": []}
    said = compare("rl-5", {"sciq": {"per_task": own}}, "per_task")
    none = "there is no random {} set of this size"
    both = f"{none.format('active')}; {none.format('alive')}"
    assert said == f"features selected in the same task, zeroed in RL: {both}."


def test_a_set_without_features_is_not_compared() -> None:
    tasks = {"sciq": {"intersection": {"n_features": 0, "change": 0}}}
    assert compare("base", tasks, "intersection") == compare("base", tasks, "majority") == ""


def test_seconds_are_summed_over_the_jobs_of_a_rule(tmp_path: Path) -> None:
    for i, seconds in enumerate((1.0, 2.0)):
        path = tmp_path / "train_crosscoders" / "tiny" / f"trio-{i}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t-\n")
    assert seconds_by_rule(tmp_path, CONFIG)["train_crosscoders"]["seconds"] == 3.0


def test_gpu_hours_are_time_multiplied_by_the_gpus_of_each_job(tmp_path: Path) -> None:
    for i, (seconds, gpus) in enumerate(((900, 8), (1800, 1))):
        given = {"tmpdir": '/tmp/"quoted"', "gpu": gpus}
        lines = f"s\tmax_rss\tresources\n{seconds}\t5.0\t{given}\n"
        path = tmp_path / "train_sft" / f"{list(LABELS)[i]}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(lines)
    assert seconds_by_rule(tmp_path, CONFIG)["train_sft"]["gpu_hours"] == 8 / 4 + 1 / 2


def test_numbers() -> None:
    assert [number(1.25), number(1.25, 1, True), number(-1.25)] == ["1.2", "+1.2", "−1.2"]
    assert number(None) == number(float("nan")) == "–"


def test_each_sentence_of_a_verdict_is_a_line_of_its_own() -> None:
    text = "Claimed: above 0.5. By seed: +1.5, -0.2. 2 of 3 seeds have a set. RL-5 stays [-1, 2]."
    assert sentences(text) == [
        "Claimed: above 0.5.",
        "By seed: +1.5, −0.2.",
        "2 of 3 seeds have a set.",
        "RL-5 stays [−1, 2].",
    ]
    assert sentences("") == []


def test_why_no_feature_is_selected_in_all_tasks() -> None:
    tasks = {
        "sciq": {"selected": [1, 4], "max_score": 1.25},
        "openbookqa": {"selected": [], "max_score": None},
    }
    assert why_empty({"intersection": [], "tasks": tasks}) == (
        "No feature is selected in all tasks. Selected in each: SciQ 2 (maximum score 1.25), "
        "OpenBookQA none (no critical sample)."
    )
    assert why_empty({"intersection": [1], "tasks": tasks}) == ""
