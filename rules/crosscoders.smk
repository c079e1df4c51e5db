"""Sparse crosscoders: base with each of ten checkpoints, the three final models together, seed replicates
of the final ones, and those of `crosscoder.evidence`. One job trains a group of them on a shard.
crosslens/config/crosscoder_design.py defines their names and groups.

INPUTS: <results>/activations/{family}/{model_set}/shard-{shard}/{variant}.h5.
OUTPUTS: <results>/crosscoders/{family}/: groups/{group}/: states-{shard}/ (temporary),
history-{shard}.csv; {crosscoder}-r{replicate}/: crosscoder.safetensors, quality.json, features.csv,
training.csv.
"""


rule train_crosscoders:
    input:
        activations=collect(
            "<results>/activations/{{family}}/{model_set}/shard-{{shard}}",
            model_set=sets_of_group,
        ),
        previous=previous_states,
        references=reference_histories,
    output:
        states=temp(
            directory("<results>/crosscoders/{family}/groups/{group}/states-{shard}")
        ),
        history="<results>/crosscoders/{family}/groups/{group}/history-{shard}.csv",
    log:
        "<logs>/train_crosscoders/{family}/{group}-{shard}.log",
    benchmark:
        "<benchmarks>/train_crosscoders/{family}/{group}-{shard}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("train_crosscoders", "gpu"),
        mem_mb=rule_resource("train_crosscoders", "mem_mb", 2000),
        runtime=rule_resource("train_crosscoders", "runtime", 120),
    params:
        code=library_hash("scripts/train_crosscoders.py"),
        crosscoder=crosscoder_settings(),
        designs=group_designs,
        shards=config["activations"]["shards"],
    script:
        "../scripts/train_crosscoders.py"


rule evaluate_crosscoder:
    input:
        states=last_states,
        heldout=collect(
            "<results>/activations/{{family}}/{model_set}/shard-heldout",
            model_set=sets_of_crosscoder,
        ),
        histories=histories,
        reference=reference_quality,
    output:
        crosscoder="<results>/crosscoders/{family}/{crosscoder}-r{replicate}/crosscoder.safetensors",
        quality="<results>/crosscoders/{family}/{crosscoder}-r{replicate}/quality.json",
        features="<results>/crosscoders/{family}/{crosscoder}-r{replicate}/features.csv",
        training="<results>/crosscoders/{family}/{crosscoder}-r{replicate}/training.csv",
    log:
        "<logs>/evaluate_crosscoder/{family}/{crosscoder}-r{replicate}.log",
    benchmark:
        "<benchmarks>/evaluate_crosscoder/{family}/{crosscoder}-r{replicate}.tsv"
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
        variants=aligned_variants,
        crosscoder=crosscoder_settings(),
        threshold=config["metrics"]["alive_threshold"],
    script:
        "../scripts/evaluate_crosscoder.py"
