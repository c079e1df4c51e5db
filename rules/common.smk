"""Shared by all rules: the checked configuration, the environments, and the input functions.

INPUTS: the configuration; envs/*.yaml; schemas/config.schema.yaml.
OUTPUTS: none; names used by the other rule files.
"""

import gc
import hashlib
import os
import re
import sys
from pathlib import Path

# Thousands of jobs are millions of objects that stay: looking through them all takes a tenth of a dry run.
gc.set_threshold(100_000, 50, 50)

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT))

from crosslens import columns, design
from crosslens.cluster import check_queued, comment
from crosslens.design import FINAL
from crosslens.errors import InputError
from crosslens.fingerprint import fingerprint
from crosslens.schema import check_twice
from crosslens.gpus import check_machine
from crosslens.families import settings_of
from crosslens.references import local_sources
from crosslens.validation import preflight

# Scripts import the library from here; with --sdm env-modules, envs/module.bash stands in for a module
# system, over the virtual environments of `make environments`. Without these a machine's own is used.
# A job ends when the process of this number does (crosslens/processes.py).
os.environ.update(PYTHONPATH=str(ROOT), CROSSLENS_WORKFLOW=str(os.getpid()))
MODULES = str(ROOT / "envs" / "module.bash")
os.environ.setdefault("BASH_ENV", MODULES)
# PyTorch's idle threads would spin on the cores that the crosscoder's own kernels compute on; and glibc
# would give the memory of each large tensor back to the kernel, a tenth of a small model's training.
for name, value in {
    "OMP_WAIT_POLICY": "passive",
    "MALLOC_MMAP_THRESHOLD_": 32 * 2**20,
    "MALLOC_TRIM_THRESHOLD_": 256 * 2**20,
}.items():
    os.environ.setdefault(name, str(value))
if (ROOT / ".venvs").is_dir():
    os.environ.update(BASH_ENV=MODULES)

# Jobs read this file again, with their own share of the machine as the limit: only the first counts.
limit = workflow.global_resources.get("gpu") if workflow.is_main_process else None

try:
    for file in workflow.configfiles:
        check_twice(Path(file))
    preflight(
        config, ROOT / "schemas" / "config.schema.yaml", getattr(limit, "value", limit)
    )
except InputError as error:
    sys.exit(f"Error: {error}")


onstart:
    needed = list(workflow.dag.needrun_jobs())
    try:
        # Jobs sent elsewhere find their GPUs there; those that run here would wait for what is not there.
        if workflow.local_exec:
            check_machine(
                {job.rule.name: job.resources.get("gpu", 0) for job in needed},
                getattr(limit, "value", limit),
            )
        if workflow.executor_plugin.name == "slurm":
            check_queued(
                [comment(job.name, job.wildcards) for job in needed],
                Path(workflow.workdir_init),
            )
    except InputError as error:
        sys.exit(f"Error: {error}")


CHECKPOINTS = range(1, design.CHECKPOINTS + 1)  # fifths of the epoch
FAMILIES = list(config["families"])
MATH = list(config["evaluation"]["math"])
TASKS = config["evaluation"]["tasks"]
UNSEEN = config["evaluation"]["unseen"]
OF_WORLD = [task for task in [*TASKS, *UNSEEN, *MATH] if task in columns.TASKS]
NEEDS = {}  # what every rule asks for, which `plan` adds up
REPLICAS = config["crosscoder"]["replicas"]
# Absent where every family brings its models.
PROBLEMS = config.get("problems", {"sources": {}, "exclude": {}})
TRACES = config.get("traces", {"teacher": [], "shards": 0})
LABELS = {family: config["families"][family]["label"] for family in FAMILIES}
# Which of the three families a figure of the paper shows, and what of each in Figures 8 to 13.
SHOWN = {1: (0, 1), 2: (0, 1), 3: (0,), 4: (0, 1), 5: (1,), 6: (2,), 7: (2,)}
SHOWN |= {number: ((number - 8) // 2,) for number in range(8, 14)}
DRAWING = sorted(
    f"scripts/{path.name}" for path in (ROOT / "scripts").glob("draw_*.py")
)
# Training curves, and the paradigm whose they are.
CURVES = {"sft-loss": "sft", "grpo-curves": "rl", "crosscoder-training": None}
GRPO_ENV = {"verl": "grpo", "trl": "sft"}[config["grpo"]["engine"]]


wildcard_constraints:
    study=re.escape(config["study"]),
    family="|".join(map(re.escape, FAMILIES)),
    variant="base|(sft|rl)-[1-5]",
    shard=r"\d+|heldout",
    crosscoder="(sft|rl)-[1-5]|trio",
    replica=r"\d+",
    target="base|rl-5",
    part=r"\d+",
    curves="|".join(CURVES),


def code(*scripts):
    """Hash of the library code that scripts reach: a change of code, not of a comment, is a reason to rerun.

    A function, so that a job which runs elsewhere reads the library for itself only.
    """
    return lambda w: [fingerprint(ROOT / script) for script in scripts]


def module(environment):
    """Name of the environment module: an edit of envs/<environment>.yaml changes it, and reruns."""
    text = (ROOT / "envs" / f"{environment}.yaml").read_bytes()
    return f"{environment}/{hashlib.sha256(text).hexdigest()[:12]}"


def need(rule, resource, default):
    """A rule's share of the machine, from `resources:` of the configuration.

    Memory is a guess and grows with every attempt. Time does not: what is long resumes.
    """
    value = config.get("resources", {}).get(rule, {}).get(resource, default)
    NEEDS.setdefault(rule, {})[resource] = value
    return (lambda w, attempt: attempt * value) if resource == "mem_mb" else value


def gpus(rule):
    """GPUs that one job of a rule takes."""
    return need(rule, "gpu", 0)


def brought():
    """Pattern of the variants that a family brings, each behind the family in the path."""
    return "|".join(
        rf"(?<=/{re.escape(family)}/)({'|'.join(design.given(entry))})"
        for family, entry in config["families"].items()
    )


def given_model(w):
    """A model that a family brings: where it comes from."""
    return design.given(config["families"][w.family])[w.variant]


def local_directory(w):
    """The directory of a model that a family brings, none for one of the hub."""
    model = given_model(w)
    return [] if model.revision else model.name


def ancestor_of(w):
    """The base model that a tuned one is checked against."""
    tuned = w.variant != "base"
    return [f"results/{w.study}/models/{w.family}/base"] if tuned else []


def local_model(section, key):
    """The directory of a model, none for one of the hub."""
    return [] if "revision" in section else section[key]


def heldout_rows_of(w):
    """The held-out shards of a crosscoder's models, in their order."""
    return [shard_of(w, variant, "heldout") for variant in models_of(w)]


def shard_of(w, variant, shard):
    return f"results/{w.study}/activations/{w.family}/{variant}/shard-{shard}.h5"


def models_of(w):
    """The variants a crosscoder aligns, base first."""
    return design.models_of(w.crosscoder)


def trained(paradigm):
    """Pattern of the families that a paradigm trains; it matches none where all bring their own."""
    return (
        "|".join(
            re.escape(family)
            for family in FAMILIES
            if paradigm in design.trained(config["families"][family])
        )
        or r"\s"
    )


def variants_of(w):
    """All models of a family, base first."""
    return design.variants(config["families"][w.family])


def pairs_of(w):
    """A family's crosscoders of two models."""
    return design.pairs(config["families"][w.family], REPLICAS)


def pair_files(w):
    """The final form of a family's crosscoders of two models."""
    folder = f"results/{w.study}/crosscoders/{w.family}"
    return [f"{folder}/{pair}/crosscoder.safetensors" for pair in pairs_of(w)]


def counts_of(w):
    """What became of the tokens of each of a family's shards."""
    folder = f"results/{w.study}/activations/{w.family}"
    shards = ["heldout", *range(config["activations"]["shards"])]
    return [
        f"{folder}/{v}/shard-{shard}.json" for v in variants_of(w) for shard in shards
    ]


def shards_of(w):
    """The shards of a crosscoder's models, in their order."""
    return [shard_of(w, variant, w.shard) for variant in models_of(w)]


def previous_state(w):
    """The state a shard starts from, in a list: an empty one for the first."""
    before = range(int(w.shard))[-1:]
    return [state_of(w, f"{w.crosscoder}-r{w.replica}", shard) for shard in before]


def state_of(w, crosscoder, shard):
    return f"results/{w.study}/crosscoders/{w.family}/{crosscoder}/state-{shard}.safetensors"


def back_pressure(w):
    """A shard waits until those `window` before it are consumed: so many exist at once, no more.

    Consumed is what a training log says: the state beside it goes as soon as the next one is there.
    The first shards wait for their family's turn.
    """
    before = (
        -1 if w.shard == "heldout" else int(w.shard) - config["activations"]["window"]
    )
    if before < 0:
        return turn_of(w)
    return [
        f"results/{w.study}/crosscoders/{w.family}/{name}/log-{before}.csv"
        for name in design.reading(w.variant, config["families"][w.family], REPLICAS)
    ]


def asked():
    """The targets that were asked for by name; none for the whole study."""
    return set(map(str, workflow.dag_settings.targets)) - {"all"}


def turn_of(w):
    """A family's turn. Only the order counts: one taken again makes nothing anew.

    What is asked for by name takes a turn that is there as it is, and plans no job for it: that would
    have other inputs than in a run of the whole study, which to Snakemake is a reason to run it again.
    """
    turn = f"results/{w.study}/activations/{w.family}/turn"
    taken = asked() and Path(turn).exists()
    return ancient(before_update(turn)) if taken else ancient(turn)


def family_before(w):
    """The finished crosscoders of the family before, whose shards are gone then.

    None where only some targets are asked for: these are to need nothing of other families.
    """
    earlier = [] if asked() else FAMILIES[: FAMILIES.index(w.family)][-1:]
    return [
        f"results/{w.study}/crosscoders/{family}/{name}/quality.json"
        for family in earlier
        for name in design.crosscoders(config["families"][family], REPLICAS)
    ]


def value_of(w):
    """What an intervention sets features to: zero in RL, `amplify_to` in base."""
    return config["interventions"]["amplify_to"] if w.target == "base" else 0.0


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
    return len(design.checkpoints(family, paradigm_of(w)))


def manifest_of_training(w):
    """What the training data are; none where no family is trained."""
    trains = any(map(design.trained, config["families"].values()))
    return f"results/{w.study}/data/manifest.json" if trains else []


def versions_of_engines(w):
    """What the jobs that sample traces and train models say of their environments."""
    rules = {"sft": "train_sft", "rl": "train_grpo"}
    engines = {
        f"{rules[paradigm]}/{family}"
        for family, entry in config["families"].items()
        for paradigm in design.trained(entry)
    }
    shares = range(TRACES["shards"]) if engines else []
    names = [*(f"generate_traces/{part}" for part in shares), *sorted(engines)]
    return [f"results/{w.study}/versions/{name}.json" for name in names]


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
            for name in design.crosscoders(config["families"][family], REPLICAS)
        ]
    return [
        f"results/{w.study}/models/{family}/{w.curves}.csv"
        for family in FAMILIES
        if CURVES[w.curves] in [None, *design.trained(config["families"][family])]
    ]


def curves():
    """The kinds of training that this study does."""
    trains = {
        p for family in config["families"].values() for p in design.trained(family)
    }
    return [name for name, paradigm in CURVES.items() if paradigm in [None, *trains]]


def outcomes_of(w, variant):
    """Every sample's outcome under a variant, one file a family."""
    files = "results/{study}/evaluation/{family}/{variant}/samples.jsonl"
    return expand(files, study=w.study, family=LABELS, variant=variant)


def results_of(family):
    """Everything the report reads of one family."""
    crosscoders = design.crosscoders(config["families"][family], REPLICAS)
    files = [
        *(f"evaluation/{family}/{v}/results.json" for v in FINAL.values()),
        *(f"crosscoders/{family}/{name}/quality.json" for name in crosscoders),
        f"generalization/{family}/features.json",
        f"generalization/{family}/critical.json",
        f"interventions/{family}/base.csv",
        f"interventions/{family}/rl-5.csv",
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


def part_of_world(*keys: str) -> dict | None:
    """Some keys of the `world` section, so that a change of the others reruns nothing."""
    return {key: config["world"][key] for key in keys} if "world" in config else None
