"""How specific features are to each model, and how the most specific ones change during training.

INPUTS: <results>/crosscoders/{family}/*/: crosscoder.safetensors, features.csv; the trio's models.
OUTPUTS: <results>/metrics/{family}/: nrn.csv, mas.csv, tails.csv, overlap.csv, rank-shifts.csv,
differences.csv (features of differences that pairs have too), splice.csv (what the reconstruction
does in the models).
"""


rule score_specificity:
    input:
        pairs=collect(
            "<results>/crosscoders/{{family}}/{pair}/crosscoder.safetensors",
            pair=crosscoders_with_nrn,
        ),
        trios=collect(
            "<results>/crosscoders/{{family}}/{trio}/crosscoder.safetensors",
            trio=crosscoders_with_mas,
        ),
        features=collect(
            "<results>/crosscoders/{{family}}/{crosscoder}/features.csv",
            crosscoder=lambda w: [*crosscoders_with_nrn(w), *crosscoders_with_mas(w)],
        ),
    output:
        nrn="<results>/metrics/{family}/nrn.csv",
        mas="<results>/metrics/{family}/mas.csv",
        tails="<results>/metrics/{family}/tails.csv",
    log:
        "<logs>/score_specificity/{family}.log",
    benchmark:
        "<benchmarks>/score_specificity/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("score_specificity", "mem_mb", 2000),
        runtime=rule_resource("score_specificity", "runtime", 20),
    params:
        code=library_hash("scripts/score_specificity.py"),
    script:
        "../scripts/score_specificity.py"


rule measure_overlap:
    input:
        nrn="<results>/metrics/{family}/nrn.csv",
        pairs=collect(
            "<results>/crosscoders/{{family}}/{pair}/crosscoder.safetensors",
            pair=crosscoders_with_nrn,
        ),
        together=collect(
            "<results>/crosscoders/{{family}}/{crosscoder}/crosscoder.safetensors",
            crosscoder=crosscoders_over_checkpoints,
        ),
        differences=collect(
            "<results>/crosscoders/{{family}}/{crosscoder}/crosscoder.safetensors",
            crosscoder=crosscoders_of_differences,
        ),
        features=collect(
            "<results>/crosscoders/{{family}}/{crosscoder}/features.csv",
            crosscoder=lambda w: [
                *crosscoders_over_checkpoints(w),
                *crosscoders_of_differences(w),
            ],
        ),
    output:
        overlap="<results>/metrics/{family}/overlap.csv",
        differences="<results>/metrics/{family}/differences.csv",
    log:
        "<logs>/measure_overlap/{family}.log",
    benchmark:
        "<benchmarks>/measure_overlap/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("measure_overlap", "mem_mb", 2000),
        runtime=rule_resource("measure_overlap", "runtime", 20),
    params:
        code=library_hash("scripts/measure_overlap.py"),
        top=config["metrics"]["top_features"],
        match_cosine=config["metrics"]["match_cosine"],
    script:
        "../scripts/measure_overlap.py"


rule measure_rank_shifts:
    input:
        nrn="<results>/metrics/{family}/nrn.csv",
        together=collect(
            "<results>/crosscoders/{{family}}/{crosscoder}/crosscoder.safetensors",
            crosscoder=crosscoders_over_checkpoints,
        ),
        features=collect(
            "<results>/crosscoders/{{family}}/{crosscoder}/features.csv",
            crosscoder=crosscoders_over_checkpoints,
        ),
    output:
        "<results>/metrics/{family}/rank-shifts.csv",
    log:
        "<logs>/measure_rank_shifts/{family}.log",
    benchmark:
        "<benchmarks>/measure_rank_shifts/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("measure_rank_shifts", "mem_mb", 1000),
        runtime=rule_resource("measure_rank_shifts", "runtime", 20),
    params:
        code=library_hash("scripts/measure_rank_shifts.py"),
        top=config["metrics"]["top_features"],
    script:
        "../scripts/measure_rank_shifts.py"


rule measure_splice:
    input:
        crosscoder=f"<results>/crosscoders/{{family}}/{TRIO}/crosscoder.safetensors",
        models=collect("<results>/models/{{family}}/{variant}", variant=FINAL.values()),
        corpus="<results>/activations/{family}/corpus.h5",
    output:
        "<results>/metrics/{family}/splice.csv",
    log:
        "<logs>/measure_splice/{family}.log",
    benchmark:
        "<benchmarks>/measure_splice/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("measure_splice", "gpu"),
        mem_mb=rule_resource("measure_splice", "mem_mb", 4000),
        runtime=rule_resource("measure_splice", "runtime", 60),
    params:
        code=library_hash("scripts/measure_splice.py"),
        activations=config["activations"],
        tokens=config["metrics"]["splice_tokens"],
    script:
        "../scripts/measure_splice.py"
