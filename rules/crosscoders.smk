"""Sparse crosscoders over base and tuned models: ten pairs, the trio, and other seeds of
the last pairs and of the trio.

INPUTS: results/{study}/activations/{family}/{variant}/shard-{shard}.h5.
OUTPUTS: results/{study}/crosscoders/{family}/{crosscoder}-r{replica}/: state-{shard}.safetensors
(temporary), crosscoder.safetensors, quality.json, features.csv, training.csv.
"""


rule train_crosscoder:
    input:
        activations=shards_of,
        previous=previous_state,
    output:
        state=temp(
            "results/{study}/crosscoders/{family}/{crosscoder}-r{replica}/state-{shard}.safetensors"
        ),
        log="results/{study}/crosscoders/{family}/{crosscoder}-r{replica}/log-{shard}.csv",
    log:
        "results/{study}/logs/train_crosscoder/{family}/{crosscoder}-r{replica}-{shard}.log",
    benchmark:
        "results/{study}/benchmarks/train_crosscoder/{family}/{crosscoder}-r{replica}-{shard}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=gpus("train_crosscoder"),
        mem_mb=need("train_crosscoder", "mem_mb", 2000),
        runtime=need("train_crosscoder", "runtime", 120),
    params:
        code=code("scripts/train_crosscoder.py"),
        crosscoder=lookup(dpath="crosscoder", within=config),
        models=lambda w: models_of(w),
        shards=lookup(dpath="activations/shards", within=config),
        seed=lambda w: config["seed"] + int(w.replica),
    script:
        "../scripts/train_crosscoder.py"


rule evaluate_crosscoder:
    input:
        state="results/{study}/crosscoders/{family}/{crosscoder}-r{replica}/state-"
        + str(config["activations"]["shards"] - 1)
        + ".safetensors",
        heldout=heldout_rows_of,
        logs=expand(
            "results/{{study}}/crosscoders/{{family}}/{{crosscoder}}-r{{replica}}/log-{shard}.csv",
            shard=range(config["activations"]["shards"]),
        ),
    output:
        crosscoder="results/{study}/crosscoders/{family}/{crosscoder}-r{replica}/crosscoder.safetensors",
        quality="results/{study}/crosscoders/{family}/{crosscoder}-r{replica}/quality.json",
        features="results/{study}/crosscoders/{family}/{crosscoder}-r{replica}/features.csv",
        training="results/{study}/crosscoders/{family}/{crosscoder}-r{replica}/training.csv",
    log:
        "results/{study}/logs/evaluate_crosscoder/{family}/{crosscoder}-r{replica}.log",
    benchmark:
        "results/{study}/benchmarks/evaluate_crosscoder/{family}/{crosscoder}-r{replica}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=gpus("evaluate_crosscoder"),
        mem_mb=need("evaluate_crosscoder", "mem_mb", 2000),
        runtime=need("evaluate_crosscoder", "runtime", 60),
    params:
        code=code("scripts/evaluate_crosscoder.py"),
        crosscoder=lookup(dpath="crosscoder", within=config),
        threshold=lookup(dpath="metrics/alive_threshold", within=config),
    script:
        "../scripts/evaluate_crosscoder.py"
