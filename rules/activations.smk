"""The mixed corpus, and every model's residual stream on it, shard by shard.

A shard is deleted when all crosscoders have trained on it. Shard i is extracted only after all have
trained on shard i - `shards_on_disk`; the first shards of a family wait for the crosscoders of the previous
family. So the disk holds `shards_on_disk` shards of each model of one family at a time.

INPUTS: the sources of `corpus`; <results>/models/{family}/{variant}.
OUTPUTS: <results>/models/{family}/sft-matched; <results>/activations/{family}/: corpus.h5, started,
drift.json, data-path.json; {model_set}/: shard-{shard}/{variant}.h5 (temporary), shard-{shard}.json
(counts). {model_set} is base, the checkpoints of a paradigm, or the SFT model of RL's drift: one job
extracts them, one after the other.
"""


rule tokenize_corpus:
    input:
        model="<results>/models/{family}/base",
        sources=local_sources(config["corpus"]["sources"].values()),
        downloads=source_downloads("corpus.sources"),
    output:
        corpus="<results>/activations/{family}/corpus.h5",
    log:
        "<logs>/tokenize_corpus/{family}.log",
    benchmark:
        "<benchmarks>/tokenize_corpus/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("tokenize_corpus", "mem_mb", 4000),
        runtime=rule_resource("tokenize_corpus", "runtime", 60),
    params:
        code=library_hash("scripts/tokenize_corpus.py"),
        corpus=config["corpus"],
        shards=config["activations"]["shards"],
        seed=config["seed"],
    script:
        "../scripts/tokenize_corpus.py"


rule match_drift:
    input:
        corpus="<results>/activations/{family}/corpus.h5",
        base="<results>/models/{family}/base",
        sft=f"<results>/models/{{family}}/{FINAL['sft']}",
        rl=f"<results>/models/{{family}}/{FINAL['rl']}",
    output:
        model=directory(f"<results>/models/{{family}}/{crosscoder_design.MATCHED}"),
        measured="<results>/activations/{family}/drift.json",
    log:
        "<logs>/match_drift/{family}.log",
    benchmark:
        "<benchmarks>/match_drift/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("match_drift", "gpu"),
        mem_mb=rule_resource("match_drift", "mem_mb", 3000),
        runtime=rule_resource("match_drift", "runtime", 60),
    params:
        code=library_hash("scripts/match_drift.py"),
        activations=config["activations"],
    script:
        "../scripts/match_drift.py"


rule start_family:
    input:
        previous_family,
    output:
        touch("<results>/activations/{family}/started"),
    localrule: True


rule extract_activations:
    input:
        corpus="<results>/activations/{family}/corpus.h5",
        models=models_to_extract,
        consumed=back_pressure,
    output:
        activations=temp(
            directory("<results>/activations/{family}/{model_set}/shard-{shard}")
        ),
        counts="<results>/activations/{family}/{model_set}/shard-{shard}.json",
    log:
        "<logs>/extract_activations/{family}/{model_set}-{shard}.log",
    benchmark:
        "<benchmarks>/extract_activations/{family}/{model_set}-{shard}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("extract_activations", "gpu"),
        mem_mb=rule_resource("extract_activations", "mem_mb", 3000),
        runtime=rule_resource("extract_activations", "runtime", 60),
    params:
        code=library_hash("scripts/extract_activations.py"),
        activations=config["activations"],
        seed=config["seed"],
    script:
        "../scripts/extract_activations.py"


rule count_tokens:
    input:
        corpus="<results>/activations/{family}/corpus.h5",
        counts=collect(
            "<results>/activations/{{family}}/{model_set}/shard-{shard}.json",
            model_set=extraction_sets,
            shard=["heldout", *SHARDS],
        ),
    output:
        "<results>/activations/{family}/data-path.json",
    log:
        "<logs>/count_tokens/{family}.log",
    benchmark:
        "<benchmarks>/count_tokens/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("count_tokens", "mem_mb", 2000),
        runtime=rule_resource("count_tokens", "runtime", 10),
    params:
        code=library_hash("scripts/count_tokens.py"),
        tokens=config["corpus"]["tokens"],
    script:
        "../scripts/count_tokens.py"
