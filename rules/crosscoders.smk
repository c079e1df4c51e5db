"""Sparse crosscoders: ten pairs, the trio, replicas (other seeds) of the last pairs and the trio,
and those that `crosscoder.evidence` asks for. Their names: crosslens/config/crosscoder_design.py.

INPUTS: <results>/activations/{family}/{variant}/shard-{shard}.h5.
OUTPUTS: <results>/crosscoders/{family}/{crosscoder}-r{replica}/: state-{shard}.safetensors
(temporary), history-{shard}.csv, crosscoder.safetensors, quality.json, features.csv, training.csv.
"""


rule train_crosscoder:
    input:
        activations=collect(
            "<results>/activations/{{family}}/{variant}/shard-{{shard}}.h5",
            variant=aligned_variants,
        ),
        previous=previous_state,
        reference=reference_histories,
    output:
        state=temp(
            "<results>/crosscoders/{family}/{crosscoder}-r{replica}/state-{shard}.safetensors"
        ),
        history="<results>/crosscoders/{family}/{crosscoder}-r{replica}/history-{shard}.csv",
    log:
        "<logs>/train_crosscoder/{family}/{crosscoder}-r{replica}-{shard}.log",
    benchmark:
        "<benchmarks>/train_crosscoder/{family}/{crosscoder}-r{replica}-{shard}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("train_crosscoder", "gpu"),
        mem_mb=rule_resource("train_crosscoder", "mem_mb", 2000),
        runtime=rule_resource("train_crosscoder", "runtime", 120),
    params:
        code=library_hash("scripts/train_crosscoder.py"),
        crosscoder=crosscoder_settings(),
        models=aligned_variants,
        inputs=crosscoder_inputs,
        activation=crosscoder_activation,
        shards=config["activations"]["shards"],
        seed=crosscoder_seed,
    script:
        "../scripts/train_crosscoder.py"


rule evaluate_crosscoder:
    input:
        state=f"<results>/crosscoders/{{family}}/{{crosscoder}}-r{{replica}}/state-{SHARDS[-1]}.safetensors",
        heldout=collect(
            "<results>/activations/{{family}}/{variant}/shard-heldout.h5",
            variant=aligned_variants,
        ),
        histories=collect(
            "<results>/crosscoders/{{family}}/{{crosscoder}}-r{{replica}}/history-{shard}.csv",
            shard=SHARDS,
        ),
        reference=reference_quality,
    output:
        crosscoder="<results>/crosscoders/{family}/{crosscoder}-r{replica}/crosscoder.safetensors",
        quality="<results>/crosscoders/{family}/{crosscoder}-r{replica}/quality.json",
        features="<results>/crosscoders/{family}/{crosscoder}-r{replica}/features.csv",
        training="<results>/crosscoders/{family}/{crosscoder}-r{replica}/training.csv",
    log:
        "<logs>/evaluate_crosscoder/{family}/{crosscoder}-r{replica}.log",
    benchmark:
        "<benchmarks>/evaluate_crosscoder/{family}/{crosscoder}-r{replica}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("evaluate_crosscoder", "gpu"),
        mem_mb=rule_resource("evaluate_crosscoder", "mem_mb", 2000),
        runtime=rule_resource("evaluate_crosscoder", "runtime", 60),
    params:
        code=library_hash("scripts/evaluate_crosscoder.py"),
        crosscoder=crosscoder_settings(),
        threshold=config["metrics"]["alive_threshold"],
    script:
        "../scripts/evaluate_crosscoder.py"
