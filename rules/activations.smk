"""The mixed corpus, and every variant's residual stream on it, shard by shard.

INPUTS: the sources of `corpus`, results/{study}/models/{family}/{variant}.
OUTPUTS: results/{study}/activations/{family}/: corpus.h5, {variant}/shard-{shard}.h5 (temporary) and .json
(counts), data-path.json, turn. A shard waits for the crosscoders to consume the one `window` before it,
the first ones for those of the family before: shards of one family at a time are on the disk.
"""


rule tokenize_corpus:
    input:
        model="results/{study}/models/{family}/base",
        sources=local_sources(config["corpus"]["sources"].values()),
    output:
        corpus="results/{study}/activations/{family}/corpus.h5",
    log:
        "results/{study}/logs/tokenize_corpus/{family}.log",
    benchmark:
        "results/{study}/benchmarks/tokenize_corpus/{family}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("tokenize_corpus", "mem_mb", 4000),
        runtime=need("tokenize_corpus", "runtime", 60),
    params:
        code=code("scripts/tokenize_corpus.py"),
        corpus=lookup(dpath="corpus", within=config),
        activations=lookup(dpath="activations", within=config),
        seed=lookup(dpath="seed", within=config),
    script:
        "../scripts/tokenize_corpus.py"


localrules:
    take_turn,


rule take_turn:
    input:
        family_before,
    output:
        touch("results/{study}/activations/{family}/turn"),


rule extract_activations:
    input:
        corpus="results/{study}/activations/{family}/corpus.h5",
        model="results/{study}/models/{family}/{variant}",
        consumed=back_pressure,
    output:
        activations=temp(
            "results/{study}/activations/{family}/{variant}/shard-{shard}.h5"
        ),
        counts="results/{study}/activations/{family}/{variant}/shard-{shard}.json",
    log:
        "results/{study}/logs/extract_activations/{family}/{variant}-{shard}.log",
    benchmark:
        "results/{study}/benchmarks/extract_activations/{family}/{variant}-{shard}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=gpus("extract_activations"),
        mem_mb=need("extract_activations", "mem_mb", 3000),
        runtime=need("extract_activations", "runtime", 60),
    params:
        code=code("scripts/extract_activations.py"),
        activations=lookup(dpath="activations", within=config),
        seed=lookup(dpath="seed", within=config),
    script:
        "../scripts/extract_activations.py"


rule report_data_path:
    input:
        corpus="results/{study}/activations/{family}/corpus.h5",
        counts=counts_of,
    output:
        "results/{study}/activations/{family}/data-path.json",
    log:
        "results/{study}/logs/report_data_path/{family}.log",
    benchmark:
        "results/{study}/benchmarks/report_data_path/{family}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("report_data_path", "mem_mb", 2000),
        runtime=need("report_data_path", "runtime", 10),
    params:
        code=code("scripts/report_data_path.py"),
        tokens=lookup(dpath="corpus/tokens", within=config),
    script:
        "../scripts/report_data_path.py"
