"""The rows of Tables 1 to 5: our numbers, their intervals and controls, and the paper's."""

from statistics import mean

import pandas as pd

from crosslens.analysis.intervals import Z, standard_error
from crosslens.config.study_design import FINAL
from crosslens.io.errors import InputError

VARIANTS = {FINAL["base"]: "Base", FINAL["sft"]: "SFT", FINAL["rl"]: "RL"}
SETS = {
    "intersection": "all tasks' features",
    "majority": "most tasks' features",
    "per_task": "the task's own features",
}
CONTROLS = {"random_alive": "as many random, alive", "random_active": "as many random, active"}
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
    """A task's name for readers."""
    return TITLES.get(task, task)


def accuracy_rows(
    results: dict[tuple[str, str], dict],
    gains: dict[str, dict[str, tuple[float, float]]],
    tasks: list[str],
    labels: dict[str, str],
    paper: dict,
) -> pd.DataFrame:
    """Table 1 in long form, in percent: one row for each family, model and task, and one for the
    difference of RL and SFT. `paper` has the numbers of the paper under `table1`: label, variant,
    task; `gains` the result of `paired` for each family.
    """
    rows = []
    for family, label in labels.items():
        published = paper["table1"].get(label, {})
        for variant, name in VARIANTS.items():
            for task in tasks:
                found = results[family, variant][task]
                low, high = (100 * x for x in found["ci95"])
                theirs = published.get(variant, {}).get(task)
                value = 100 * found["accuracy"]
                rows.append((family, label, name, task, value, low, high, found["n"], theirs))
        rows += differences(rows, gains[family], label, tasks)
    columns = ["family", "label", "model", "task", "accuracy", "ci_low", "ci_high", "n", "paper"]
    return pd.DataFrame(rows, columns=columns)


def paired(sft: list[dict], rl: list[dict]) -> dict[str, tuple[float, float]]:
    """Per task, RL - SFT and its standard error, both in points.

    From the differences of single documents, each the mean over its repetitions: both models
    answered the same ones, so their errors are not independent. Raises InputError otherwise.
    """
    before, after = document_means(sft), document_means(rl)
    if before.keys() != after.keys():
        raise InputError("SFT and RL were evaluated on different documents: evaluate both again")
    gains: dict[str, list[float]] = {}
    for key in before:
        gains.setdefault(key[0], []).append(100 * (after[key] - before[key]))
    return {task: (mean(found), standard_error(found)) for task, found in gains.items()}


def document_means(rows: list[dict]) -> dict[tuple, float]:
    """Share of right answers to each document, by task, id and hash."""
    found: dict[tuple, list[int]] = {}
    for row in rows:
        key = row["task"], row["doc_id"], row["doc_hash"]
        found.setdefault(key, []).append(row["correct"])
    return {key: mean(correct) for key, correct in found.items()}


def differences(
    rows: list[tuple], gains: dict[str, tuple[float, float]], label: str, tasks: list[str]
) -> list[tuple]:
    """The row RL - SFT, as in the paper, with the 95% interval of paired differences."""
    family = rows[-1][0]
    theirs = {(row[2], row[3]): row[8] for row in rows if row[0] == family}
    counts = {row[3]: row[7] for row in rows if row[0] == family}
    found = []
    for task in tasks:
        rl, sft = theirs["RL", task], theirs["SFT", task]
        paper = None if rl is None or sft is None else round(rl - sft, 1)
        gain, half = gains[task][0], Z * gains[task][1]
        interval = gain - half, gain + half
        found.append((family, label, "RL - SFT", task, gain, *interval, counts[task], paper))
    return found


def accuracy_cells(rows: pd.DataFrame, tasks: list[str]) -> tuple[pd.DataFrame, list[int]]:
    """Table 1 as strings, and the rows before which a family begins."""
    cells, rules = [], []
    for (label, model), part in rows.groupby(["label", "model"], sort=False):
        if model == "Base" and cells:
            rules.append(len(cells))
        found = part.set_index("task")
        line = {"Model": f"{label}-{model}" if model != "RL - SFT" else "Δ (RL − SFT)"}
        for task in tasks:
            at = found.loc[task]
            interval = "" if pd.isna(at.ci_low) else f" [{at.ci_low:z.0f}, {at.ci_high:z.0f}]"
            form = "+z.1f" if model == "RL - SFT" else ".1f"
            line[task_title(task)] = f"{at.accuracy:{form}}{interval}{beside(at.paper, form)}"
        cells.append(line)
    return pd.DataFrame(cells), rules


def beside(paper: float | None, form: str) -> str:
    """The paper's number as it stands beside ours; "" where it has none."""
    return "" if pd.isna(paper) else f" (paper {paper:{form}})"


def effect_of(table: pd.DataFrame, task: str, kind: str) -> dict[str, pd.DataFrame]:
    """The rows of a kind of set on a task, under "set", and of the random sets of its size."""
    on = table[table["task"] == task]
    part = on[on["kind"] == kind]
    same = on[on["size"].isin(part["size"])]
    return {"set": part} | {control: same[same["kind"] == control] for control in CONTROLS}


def intervention_rows(
    found: dict[str, pd.DataFrame], tasks: list[str], labels: dict[str, str], paper: dict
) -> pd.DataFrame:
    """Tables 2 to 5 in long form: one row for each family, kind of set, the set itself or random
    ones of its size (`edited`), and task.

    For random sets `change` is the mean over the sets and the interval their range; for others it
    is the 95% interval of the change. `paper` has the paper's changes: label, task.
    """
    rows = []
    for family, table in found.items():
        label = labels[family]
        published = paper.get(label, {})
        for kind in SETS:
            parts = {task: effect_of(table, task, kind) for task in tasks}
            for edited in parts[tasks[0]]:
                for task in tasks:
                    main = (kind, edited) == ("intersection", "set")
                    theirs = published.get(task) if main else None
                    numbers = effect(parts[task][edited], edited in CONTROLS)
                    rows.append((family, label, kind, edited, task, *numbers, theirs))
    columns = ["family", "label", "kind", "edited", "task", "change", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "n_features", "n_samples", "sets", "paper"])


def effect(part: pd.DataFrame, control: bool) -> tuple:
    """Change, its bounds, and how many features, samples and sets it comes from."""
    if part.empty:
        return None, None, None, None, 0, 0
    low = part["change"].min() if control else part["ci_low"].iloc[0]
    high = part["change"].max() if control else part["ci_high"].iloc[0]
    sizes = int(part["n_features"].max()), int(part["n_samples"].iloc[0]), len(part)
    return part["change"].mean(), low, high, *sizes


def intervention_cells(rows: pd.DataFrame, tasks: list[str]) -> tuple[pd.DataFrame, list[int]]:
    """Tables 2 to 5 as strings, and the rows before which another kind of set begins."""
    cells, rules = [], []
    for (label, kind, edited), part in rows.groupby(["label", "kind", "edited"], sort=False):
        if not part["sets"].any():
            continue
        if edited == "set" and cells:
            rules.append(len(cells))
        name = f"{label}: {SETS[kind]}" if edited == "set" else f"    {control(edited, part)}"
        line = {"Features edited": name}
        for task, at in part.set_index("task").loc[tasks].iterrows():
            line[task_title(task)] = cell(at)
        cells.append(line)
    nothing = {"Features edited": NOTHING} | dict.fromkeys(map(task_title, tasks), MISSING)
    return pd.DataFrame(cells or [nothing]), rules


def control(edited: str, part: pd.DataFrame) -> str:
    """What a row of controls is called: their kind, and how many sets there are."""
    low, high = part["sets"].min(), part["sets"].max()
    return f"{CONTROLS[edited]} ({low if low == high else f'{low} to {high}'} sets)"


def cell(at: pd.Series) -> str:
    """A change with its bounds, a dash where nothing was edited; the paper's where it has one."""
    if pd.isna(at["change"]) or at["n_features"] == 0:
        ours = f"{MISSING} (no feature)" if at["sets"] else MISSING
    else:
        ours = f"{at['change']:+z.1f} [{at['low']:+z.0f}, {at['high']:+z.0f}]"
    return ours + beside(at["paper"], "+.1f")
