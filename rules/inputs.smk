"""Input functions: which models, shards and states a job reads, and whose turn it waits for.

INPUTS: the names of common.smk.
OUTPUTS: none; functions used by the rule files.
"""


def given_model(w):
    """A model that a family brings: where it comes from."""
    return study_design.given(config["families"][w.family])[w.variant]


def local_directory(w):
    """The directory of a model that a family brings, none for one of the hub."""
    model = given_model(w)
    return [] if model.revision else model.name


def ancestor_of(w):
    """The base model that a tuned one is checked against."""
    return [] if w.variant == "base" else f"results/{w.study}/models/{w.family}/base"


def local_model(section, key):
    """The directory of a model, none for one of the hub."""
    return [] if "revision" in section else section[key]


def variants_of(w):
    """All models of a family, base first."""
    return study_design.variants(config["families"][w.family])


def pairs_of(w):
    """A family's crosscoders of two models."""
    return study_design.pairs(config["families"][w.family], REPLICAS)


def pair_files(w):
    """The final form of a family's crosscoders of two models."""
    folder = f"results/{w.study}/crosscoders/{w.family}"
    return [f"{folder}/{pair}/crosscoder.safetensors" for pair in pairs_of(w)]


def trio_files(w):
    """The final form of a family's crosscoders of base and both final models."""
    folder = f"results/{w.study}/crosscoders/{w.family}"
    trios = study_design.trios(REPLICAS)
    return [f"{folder}/{trio}/crosscoder.safetensors" for trio in trios]


def models_of(w):
    """The variants a crosscoder aligns, base first."""
    return study_design.models_of(w.crosscoder)


def shard_of(w, variant, shard):
    return f"results/{w.study}/activations/{w.family}/{variant}/shard-{shard}.h5"


def shards_of(w):
    """The shards of a crosscoder's models, in their order."""
    return [shard_of(w, variant, w.shard) for variant in models_of(w)]


def heldout_rows_of(w):
    """The held-out shards of a crosscoder's models, in their order."""
    return [shard_of(w, variant, "heldout") for variant in models_of(w)]


def counts_of(w):
    """What became of the tokens of each of a family's shards."""
    folder = f"results/{w.study}/activations/{w.family}"
    shards = ["heldout", *range(config["activations"]["shards"])]
    return [
        f"{folder}/{v}/shard-{shard}.json" for v in variants_of(w) for shard in shards
    ]


def state_of(w, crosscoder, shard):
    return f"results/{w.study}/crosscoders/{w.family}/{crosscoder}/state-{shard}.safetensors"


def previous_state(w):
    """The state that training on a shard starts from; none for the first shard."""
    name, shard = f"{w.crosscoder}-r{w.replica}", int(w.shard)
    return state_of(w, name, shard - 1) if shard else []


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
        for name in study_design.reading(
            w.variant, config["families"][w.family], REPLICAS
        )
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
        for name in study_design.crosscoders(config["families"][family], REPLICAS)
    ]


def value_of(w):
    """What an intervention sets features to: zero in RL, `amplify_to` in base."""
    return config["interventions"]["amplify_to"] if w.target == "base" else 0.0


def outcomes_of(w, variant):
    """Every sample's outcome under a variant, one file a family."""
    files = "results/{study}/evaluation/{family}/{variant}/samples.jsonl"
    return expand(files, study=w.study, family=LABELS, variant=variant)


def manifest_of_training(w):
    """What the training data are; none where no family is trained."""
    trains = any(map(study_design.trained, config["families"].values()))
    return f"results/{w.study}/data/manifest.json" if trains else []


def versions_of_engines(w):
    """What the jobs that sample traces and train models say of their environments."""
    rules = {"sft": "train_sft", "rl": "train_grpo"}
    engines = {
        f"{rules[paradigm]}/{family}"
        for family, entry in config["families"].items()
        for paradigm in study_design.trained(entry)
    }
    shares = range(TRACES["shards"]) if engines else []
    names = [*(f"generate_traces/{part}" for part in shares), *sorted(engines)]
    return [f"results/{w.study}/versions/{name}.json" for name in names]
