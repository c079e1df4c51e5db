"""What the figures and tables show, and the targets that can be requested by name.

INPUTS: the names of common.smk.
OUTPUTS: none; functions used by the Snakefile and by the rules that draw and report.
"""


def figure_families(w):
    """Return the families in a figure, each once, even if it stands for several of the paper's."""
    positions = FIGURES[w.figure].families
    if positions is None:
        return list(FAMILIES)
    return list(dict.fromkeys(config["figures"]["families"][i] for i in positions))


def figure_sources(w):
    """Return the results that a figure is drawn from, one family after the other."""
    source = DRAWINGS[FIGURES[w.figure].drawing].source
    trios = crosscoder_design.seeds(crosscoder_design.TRIO_MODELS, CROSSCODER)
    return [
        file
        for family in figure_families(w)
        for file in dict.fromkeys(
            collect(f"<results>/{source}", family=family, trio=trios)
        )
    ]


def figure_settings(w):
    """Return what a figure shows: the drawing, its paradigm and its number of checkpoints."""
    figure, families = FIGURES[w.figure], figure_families(w)
    entry = FAMILIES[families[0]]
    return {
        "drawing": figure.drawing,
        "paradigm": figure.paradigm,
        "checkpoints": len(study_design.checkpoints(entry, figure.paradigm or "rl")),
    }


def figure_caption(w):
    """Return the caption of a figure in Snakemake's report."""
    figure = FIGURES[w.figure]
    return f"{figure.title}. {DRAWINGS[figure.drawing].caption}"


def table_target(w):
    """Return the model that the interventions of a table edit."""
    return TABLES[int(w.number)].target


def table_tasks(w):
    """Return the tasks of a table of interventions."""
    return config["evaluation"][TABLES[int(w.number)].tasks]


def table_title(w):
    """Return the title of a table."""
    return f"Table {w.number}. {TABLES[int(w.number)].title}."


def table_caption(w):
    """Return the caption of a table in Snakemake's report."""
    return TABLES[int(w.number)].caption


def numbered_tables(rule):
    """Return a pattern of the numbers of the tables that a rule makes."""
    return either(number for number, table in TABLES.items() if table.rule == rule)


def curve_tables(w):
    """Return the histories of one kind of training, of all families that were trained."""
    if w.curves == "crosscoder-training":
        return [
            f"<results>/crosscoders/{family}/{name}/training.csv"
            for family, entry in FAMILIES.items()
            for name in crosscoder_design.crosscoders(entry, CROSSCODER)
        ]
    paradigm = CURVES[w.curves].paradigm
    trained = [f for f, e in FAMILIES.items() if paradigm in study_design.trained(e)]
    return collect(
        "<results>/models/{family}/{curves}.csv", family=trained, curves=w.curves
    )


def curve_caption(w):
    """Return the caption of training curves in Snakemake's report."""
    return CURVES[w.curves].caption


def study_curves():
    """Return the kinds of training that this study does."""
    paradigms = {p for entry in FAMILIES.values() for p in study_design.trained(entry)}
    return [name for name, c in CURVES.items() if c.paradigm in [None, *paradigms]]


def family_results(family):
    """Return everything the report reads of one family."""
    crosscoders = crosscoder_design.crosscoders(FAMILIES[family], CROSSCODER)
    trios = crosscoder_design.trios(CROSSCODER)
    drift = ["drift"] if "drift_matched" in CROSSCODER.evidence else []
    files = [
        *(f"evaluation/{family}/{v}/results.json" for v in FINAL.values()),
        *(f"crosscoders/{family}/{name}/quality.json" for name in crosscoders),
        f"generalization/{family}/critical.json",
        *(f"generalization/{family}/{trio}/features.json" for trio in trios),
        f"interventions/{family}/effects.csv",
        f"interventions/{family}/evidence.json",
        f"interventions/{family}/gap.csv",
        *(f"activations/{family}/{name}.json" for name in ["data-path", *drift]),
        *(
            f"features/{family}.{kind}"
            for kind in ["jsonl", "difference-lens.json", "html"]
        ),
        *(
            f"metrics/{family}/{table}.csv"
            for table in ["nrn", "mas", "overlap", "tails", "differences", "splice"]
        ),
    ]
    return [f"<results>/{file}" for file in files]


def training_manifests():
    """Return the manifests of problems and traces; no file where no family is trained."""
    names = ["problems", "manifest"] if study_design.trains(FAMILIES) else []
    return collect("<results>/data/{name}.json", name=names)


def backend_versions():
    """Return the files of package versions in jobs that sample answers or train models."""
    rules = {"sft": "train_sft", "rl": "train_grpo"}
    trained = [
        f"{rules[paradigm]}/{family}"
        for family, entry in FAMILIES.items()
        for paradigm in study_design.trained(entry)
    ]
    parts = range(TRACES["shards"]) if trained else []
    answers = [
        f"generate_answers/{family}-{variant}-{task}"
        for family in FAMILIES
        for variant in FINAL.values()
        for task in SAMPLED_BY_VLLM
    ]
    names = [*(f"generate_traces/{part}" for part in parts), *sorted(trained), *answers]
    return collect("<results>/versions/{name}.json", name=names)


def drawn(*names):
    """Return the figures or tables as PDF and PNG, with the CSV that each was drawn from."""
    formats = ["pdf", "png", "csv"]
    return collect("<results>/{name}.{format}", name=names, format=formats)


def figures(*names):
    """Return the figures, by name."""
    return drawn(*(f"figures/{name}" for name in names))


def tables(*numbers):
    """Return the tables of the paper, by number."""
    return drawn(*(f"tables/table{number}" for number in numbers))


def figures_of(family):
    """Return the figures of the paper that show one family and no other."""
    positions = config["figures"]["families"]
    shown = {
        name: {positions[i] for i in figure.families or ()}
        for name, figure in FIGURES.items()
    }
    return [name for name, families in shown.items() if families == {family}]


def named_targets():
    """Return targets by name: figures (figure2), tables (table1) and a family's results."""
    targets = {name: figures(name) for name in FIGURES}
    targets |= {f"table{number}": tables(number) for number in TABLES}
    for family in FAMILIES:
        metrics = collect(
            "<results>/metrics/{family}/{table}.csv",
            family=family,
            table="rank-shifts",
        )
        targets[family] = [
            *family_results(family),
            *metrics,
            *figures(*figures_of(family)),
        ]
    return targets
