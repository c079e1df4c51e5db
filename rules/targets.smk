"""What the figures and tables show, and what can be asked for by name.

INPUTS: the names of common.smk and inputs.smk.
OUTPUTS: none; functions used by the Snakefile and the rules that draw and report.
"""

# Which of the three families a figure of the paper shows, and what of each in Figures 8 to 13.
SHOWN = {1: (0, 1), 2: (0, 1), 3: (0,), 4: (0, 1), 5: (1,), 6: (2,), 7: (2,)}
SHOWN |= {number: ((number - 8) // 2,) for number in range(8, 14)}
TARGETS = ["base", FINAL["rl"]]  # the models that interventions edit
DRAWING = sorted(
    f"scripts/{path.name}" for path in (ROOT / "scripts").glob("draw_*.py")
)


def families_of(w):
    """The families in a figure, each once however many of the paper's it stands for."""
    shown = [config["figures"]["families"][i] for i in SHOWN[int(w.number)]]
    return list(dict.fromkeys(shown))


def paradigm_of(w):
    """Figures 8, 10 and 12 show SFT, the others RL."""
    return "rl" if int(w.number) % 2 else "sft"


def checkpoints_of(w):
    """How many checkpoints of a paradigm the first family in a figure has."""
    family = config["families"][families_of(w)[0]]
    return len(study_design.checkpoints(family, paradigm_of(w)))


def target_of(w):
    """Tables 2 and 4 edit the RL model, 3 and 5 base."""
    return "base" if int(w.number) % 2 else FINAL["rl"]


def tasks_of(w):
    """Tables 2 and 3 are on the tasks that features were selected on, 4 and 5 on unseen ones."""
    return TASKS if int(w.number) < 4 else UNSEEN


def tables_of_curves(w):
    """The logs of one kind of training, of all families that were trained."""
    if w.curves == "crosscoder-training":
        return [
            f"results/{w.study}/crosscoders/{family}/{name}/training.csv"
            for family in FAMILIES
            for name in study_design.crosscoders(config["families"][family], REPLICAS)
        ]
    return [
        f"results/{w.study}/models/{family}/{w.curves}.csv"
        for family in FAMILIES
        if CURVES[w.curves] in [None, *study_design.trained(config["families"][family])]
    ]


def curves():
    """The kinds of training that this study does."""
    trains = {
        p
        for family in config["families"].values()
        for p in study_design.trained(family)
    }
    return [name for name, paradigm in CURVES.items() if paradigm in [None, *trains]]


def results_of(family):
    """Everything the report reads of one family."""
    crosscoders = study_design.crosscoders(config["families"][family], REPLICAS)
    trios = study_design.trios(REPLICAS)
    files = [
        *(f"evaluation/{family}/{v}/results.json" for v in FINAL.values()),
        *(f"crosscoders/{family}/{name}/quality.json" for name in crosscoders),
        f"generalization/{family}/critical.json",
        *(f"generalization/{family}/{trio}/features.json" for trio in trios),
        *(
            f"interventions/{family}/{trio}/{target}.csv"
            for trio in trios
            for target in TARGETS
        ),
        f"activations/{family}/data-path.json",
        f"metrics/{family}/nrn.csv",
    ]
    return [f"results/{config['study']}/{file}" for file in files]


def drawn(*names):
    """A figure or table as PDF and PNG, with the CSV it was drawn from."""
    formats = ["pdf", "png", "csv"]
    return expand(
        f"results/{config['study']}/{{name}}.{{format}}", name=names, format=formats
    )


def figures(*numbers):
    """Figures of the paper, by number."""
    return drawn(*(f"figures/figure{number}" for number in numbers))


def tables(*numbers):
    """Tables of the paper, by number."""
    return drawn(*(f"tables/table{number}" for number in numbers))


def figures_of(family):
    """The figures that show one family and no other."""
    shown = {n: {config["figures"]["families"][i] for i in SHOWN[n]} for n in SHOWN}
    return sorted(number for number in shown if shown[number] == {family})


def single_targets():
    """What can be asked for by name: `snakemake figure2`, `snakemake table1`, and a family's results."""
    found = {f"figure{number}": figures(number) for number in range(1, 14)}
    found |= {f"table{number}": tables(number) for number in range(1, 6)}
    for family in FAMILIES:
        metrics = expand(
            "results/{study}/metrics/{family}/{table}.csv",
            study=config["study"],
            family=family,
            table=["mas", "overlap", "rank-shifts"],
        )
        found[family] = results_of(family) + metrics + figures(*figures_of(family))
    return found
