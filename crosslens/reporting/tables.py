"""Make the rows of Tables 1 to 5: our numbers, intervals and controls, and the paper's numbers."""

from statistics import mean

import pandas as pd

from crosslens.analysis.controls import PRIMARY
from crosslens.analysis.intervals import Z, standard_error
from crosslens.config.study_design import FINAL
from crosslens.io.errors import InputError

VARIANTS = {FINAL["base"]: "Base", FINAL["sft"]: "SFT", FINAL["rl"]: "RL"}
SETS = {
    "intersection": "selected in all tasks",
    "majority": "selected in most tasks",
    "per_task": "selected in the same task",
}
CONTROLS = {"random_alive": "random alive features", "random_active": "random active features"}
PROTOCOL = "protocol"  # besides SETS: the causal protocol's sets, and their matched controls
PROTOCOL_NAMES = {"set": "selected on other questions", "matched": "matched controls"}
OTHERS = {  # what a primary set is compared with, in the first seed of base and RL
    "next_best": "next best features",
    "sft": "SFT's features",
    "random_direction": "random directions",
    "steering": "steering vector",
    "steering_in_span": "steering vector in the features' span",
    "steering_outside_span": "steering vector outside of it",
}
MISSING = "–"
NOTHING = "no set was edited on any sample"
TITLES = {  # as the paper writes them; any other task keeps the harness's name
    "openbookqa": "OpenBookQA",
    "commonsense_qa": "CommonsenseQA",
    "headqa_en": "HeadQA",
    "sciq": "SciQ",
    "arc_challenge": "ARC",
    "logiqa": "LogiQA",
    "piqa": "PIQA",
    "math500": "MATH500",
    "aime24": "AIME24",
    "aime25": "AIME25",
}


def task_title(task: str) -> str:
    """Return a task's name for readers."""
    return TITLES.get(task, task)


def accuracy_rows(
    results: dict[tuple[str, str], dict],
    gains: dict[str, dict[str, tuple[float, float]]],
    tasks: list[str],
    labels: dict[str, str],
    paper: dict,
) -> pd.DataFrame:
    """Return Table 1 in long form, in percent.

    There is a row for each family, model and task, and one for the difference of RL and SFT.
    `paper` has the paper's numbers under `table1`: label, variant, task; `gains` has the result of
    `paired` for each family.
    """
    rows = []
    for family, label in labels.items():
        published = paper["table1"].get(label, {})
        for variant, name in VARIANTS.items():
            for task in tasks:
                numbers = results[family, variant][task]
                low, high = (100 * x for x in numbers["ci95"])
                theirs = published.get(variant, {}).get(task)
                value = 100 * numbers["accuracy"]
                rows.append((family, label, name, task, value, low, high, numbers["n"], theirs))
        rows += differences(rows, gains[family], label, tasks)
    columns = ["family", "label", "model", "task", "accuracy", "ci_low", "ci_high", "n", "paper"]
    return pd.DataFrame(rows, columns=columns)


def paired(sft: list[dict], rl: list[dict]) -> dict[str, tuple[float, float]]:
    """Return RL - SFT and its standard error for each task, both in points.

    They are computed from the differences of single documents, each a mean over repetitions: both
    models answered the same documents, so their errors are not independent. Raises InputError if
    they answered different documents.
    """
    before, after = document_means(sft), document_means(rl)
    if before.keys() != after.keys():
        raise InputError(
            "evaluate_model: SFT and RL were evaluated on different documents. Evaluate both again."
        )
    gains: dict[str, list[float]] = {}
    for key in before:
        gains.setdefault(key[0], []).append(100 * (after[key] - before[key]))
    return {task: (mean(values), standard_error(values)) for task, values in gains.items()}


def document_means(rows: list[dict]) -> dict[tuple, float]:
    """Return the fraction of correct answers to each document, by task, id and hash."""
    outcomes: dict[tuple, list[int]] = {}
    for row in rows:
        key = row["task"], row["doc_id"], row["doc_hash"]
        outcomes.setdefault(key, []).append(row["correct"])
    return {key: mean(correct) for key, correct in outcomes.items()}


def differences(
    rows: list[tuple], gains: dict[str, tuple[float, float]], label: str, tasks: list[str]
) -> list[tuple]:
    """Return the row RL - SFT, as in the paper, with the 95% interval of paired differences."""
    family = rows[-1][0]
    theirs = {(row[2], row[3]): row[8] for row in rows if row[0] == family}
    counts = {row[3]: row[7] for row in rows if row[0] == family}
    lines = []
    for task in tasks:
        rl, sft = theirs["RL", task], theirs["SFT", task]
        paper = None if rl is None or sft is None else round(rl - sft, 1)
        gain, half = gains[task][0], Z * gains[task][1]
        interval = gain - half, gain + half
        lines.append((family, label, "RL - SFT", task, gain, *interval, counts[task], paper))
    return lines


def accuracy_cells(rows: pd.DataFrame, tasks: list[str]) -> tuple[pd.DataFrame, list[int]]:
    """Return Table 1 as strings, and the rows before which a family begins."""
    cells: list[dict[str, str]] = []
    rules: list[int] = []
    for (label, model), part in rows.groupby(["label", "model"], sort=False):
        if model == "Base" and cells:
            rules.append(len(cells))
        by_task = part.set_index("task")
        line = {"Model": f"{label}-{model}" if model != "RL - SFT" else "Δ (RL − SFT)"}
        for task in tasks:
            at = by_task.loc[task]
            interval = "" if pd.isna(at.ci_low) else f" [{at.ci_low:z.0f}, {at.ci_high:z.0f}]"
            form = "+z.1f" if model == "RL - SFT" else ".1f"
            line[task_title(task)] = f"{at.accuracy:{form}}{interval}{paper_suffix(at.paper, form)}"
        cells.append(line)
    return pd.DataFrame(cells), rules


def paper_suffix(paper: float | None, form: str) -> str:
    """Return the paper's number as text to put next to ours; "" where it has none."""
    return "" if pd.isna(paper) else f" (paper {paper:{form}})"


def of_model(effects: pd.DataFrame, target: str, replicate: int = 0) -> pd.DataFrame:
    """Return the rows of effects.csv of one edited model, for one seed of the crosscoder."""
    return effects[(effects["target"] == target) & (effects["replicate"] == replicate)]


def effect_of(table: pd.DataFrame, task: str, kind: str) -> dict[str, pd.DataFrame]:
    """Return the rows of one of the paper's sets on a task, under "set", and of its random sets."""
    on = table[(table["task"] == task) & (table["design"] == "paper") & (table["features"] == kind)]
    return {"set": on[on["kind"] == "selected"]} | {c: on[on["kind"] == c] for c in CONTROLS}


def protocol_effect(table: pd.DataFrame, task: str) -> dict[str, pd.DataFrame]:
    """Return the rows of the protocol's set on a task, and of its matched controls.

    They are at the primary dose, which comes first in effects.csv.
    """
    on = table[(table["design"] == PROTOCOL) & (table["features"] == PRIMARY)]
    on = on[(on["task"] == task) & (on["dose"] == on["dose"].head(1).squeeze())]
    return {"set": on[on["kind"] == "selected"], "matched": on[on["kind"] == "matched"]}


def intervention_rows(
    effects: dict[str, pd.DataFrame], tasks: list[str], labels: dict[str, str], paper: dict
) -> pd.DataFrame:
    """Return Tables 2 to 5 in long form.

    There is one row for each family, kind of set, edited features (the set itself, or controls of
    its size) and task. `change` is the paper's measure, on critical samples; `net` is the change on
    all questions, with those won and lost. For controls, both are means over control sets, with
    their range; for sets, the bounds of `change` are its 95% interval. `paper` has the paper's
    changes: label, task.
    """
    rows = []
    for family, table in effects.items():
        label = labels[family]
        published = paper.get(label, {})
        for kind in (*SETS, PROTOCOL):
            for task in tasks:
                protocol = kind == PROTOCOL
                parts = protocol_effect(table, task) if protocol else effect_of(table, task, kind)
                for edited, part in parts.items():
                    main = (kind, edited) == ("intersection", "set")
                    names = {"family": family, "label": label, "kind": kind, "edited": edited}
                    measured = effect(part, edited != "set")
                    rows.append(
                        {
                            **names,
                            "task": task,
                            **measured,
                            "paper": published.get(task) if main else None,
                        }
                    )
    return pd.DataFrame(rows)


def effect(part: pd.DataFrame, control: bool) -> dict[str, float | int | None]:
    """Return change and net with their bounds, and what they are based on.

    That is the number of features, samples, questions and sets.
    """
    numbers = ("change", "low", "high", "net", "net_low", "net_high", "won", "lost")
    counts = ("n_features", "n_samples", "questions")
    if part.empty:
        return dict.fromkeys((*numbers, *counts)) | {"sets": 0}
    change, net, first = part["critical_change"], part["net"], part.iloc[0]
    low, high = (
        (change.min(), change.max())
        if control
        else (first["critical_ci_low"], first["critical_ci_high"])
    )
    return {
        **{"change": change.mean(), "low": low, "high": high},
        **{"net": net.mean(), "net_low": net.min(), "net_high": net.max()},
        **{"won": part["won"].mean(), "lost": part["lost"].mean()},
        "n_features": int(part["n_features"].max()),
        **{name: int(first[name]) for name in counts[1:]},
        "sets": len(part),
    }


def intervention_cells(rows: pd.DataFrame, tasks: list[str]) -> tuple[pd.DataFrame, list[int]]:
    """Return Tables 2 to 5 as strings, and the rows before which another kind of set begins."""
    cells: list[dict[str, str]] = []
    rules: list[int] = []
    by = ["label", "kind", "edited"]
    for (label, kind, edited), part in rows.groupby(by, sort=False) if len(rows) else ():
        if not part["sets"].any():
            continue
        if edited == "set" and cells:
            rules.append(len(cells))
        line = {"Features edited": row_name(label, kind, edited, part)}
        for task, at in part.set_index("task").loc[tasks].iterrows():
            line[task_title(task)] = net_cell(at) if kind == PROTOCOL else cell(at)
        cells.append(line)
    nothing = {"Features edited": NOTHING} | dict.fromkeys(map(task_title, tasks), MISSING)
    return pd.DataFrame(cells or [nothing]), rules


def row_name(label: str, kind: str, edited: str, part: pd.DataFrame) -> str:
    """Return what a row is called: the family and kind of set, or the controls and their number."""
    names = PROTOCOL_NAMES if kind == PROTOCOL else {"set": SETS[kind], **CONTROLS}
    if edited == "set":
        return f"{label}: {names[edited]}"
    low, high = part["sets"].min(), part["sets"].max()
    return f"    {names[edited]} ({low if low == high else f'{low} to {high}'} sets)"


def cell(at: pd.Series) -> str:
    """Return a change with its bounds, the paper's change if any, and the net change.

    A dash stands for no edit. The net change is on all questions.
    """
    if pd.isna(at["net"]) or at["n_features"] == 0:
        return (f"{MISSING} (no feature)" if at["sets"] else MISSING) + paper_suffix(
            at["paper"], "+.1f"
        )
    ours = (
        MISSING
        if pd.isna(at["change"])
        else f"{at['change']:+z.1f} [{at['low']:+z.0f}, {at['high']:+z.0f}]"
    )
    return f"{ours}{paper_suffix(at['paper'], '+.1f')}; net {at['net']:+z.1f}"


def net_cell(at: pd.Series) -> str:
    """Return a net change on all questions: won and lost of one set, the range of several."""
    if pd.isna(at["net"]) or at["n_features"] == 0:
        return f"{MISSING} (no feature)" if at["sets"] else MISSING
    if at["edited"] == "set":
        return f"net {at['net']:+z.1f} (won {at['won']:.0f}, lost {at['lost']:.0f})"
    return f"net {at['net']:+z.1f} [{at['net_low']:+z.0f}, {at['net_high']:+z.0f}]"
