"""Training data: the families' base models, the teacher's traces, and what is kept of them.

INPUTS: the model directories of `families`, `traces.teacher` and the problems file of the configuration.
OUTPUTS: results/{study}/models/{family}/base, results/{study}/data/{traces.jsonl,sft,grpo.parquet,manifest.json}.
"""


rule import_model:
    input:
        base=lookup(dpath="families/{family}/base", within=config),
    output:
        directory("results/{study}/models/{family}/base"),
    log:
        "results/{study}/logs/import_model/{family}.log",
    benchmark:
        "results/{study}/benchmarks/import_model/{family}.tsv"
    conda:
        "../envs/analysis.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("import_model", "mem_mb", 1000),
        runtime=need("import_model", "runtime", 60),
    params:
        code=code("scripts/import_model.py"),
    script:
        "../scripts/import_model.py"


rule generate_traces:
    input:
        teacher=lookup(dpath="traces/teacher", within=config),
        problems=lookup(dpath="problems", within=config),
    output:
        "results/{study}/data/traces.jsonl",
    log:
        "results/{study}/logs/generate_traces.log",
    benchmark:
        "results/{study}/benchmarks/generate_traces.tsv"
    conda:
        "../envs/analysis.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=gpus("generate_traces"),
        mem_mb=need("generate_traces", "mem_mb", 3000),
        runtime=need("generate_traces", "runtime", 60),
    params:
        code=code("scripts/generate_traces.py"),
        traces=lookup(dpath="traces", within=config),
        seed=lookup(dpath="seed", within=config),
    script:
        "../scripts/generate_traces.py"


rule filter_traces:
    input:
        traces="results/{study}/data/traces.jsonl",
        problems=lookup(dpath="problems", within=config),
    output:
        sft=directory("results/{study}/data/sft"),
        grpo="results/{study}/data/grpo.parquet",
        manifest="results/{study}/data/manifest.json",
    log:
        "results/{study}/logs/filter_traces.log",
    benchmark:
        "results/{study}/benchmarks/filter_traces.tsv"
    conda:
        "../envs/analysis.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("filter_traces", "mem_mb", 1000),
        runtime=need("filter_traces", "runtime", 60),
    params:
        code=code("scripts/filter_traces.py"),
        traces=lookup(dpath="traces", within=config),
        batch_size=lookup(dpath="grpo/batch_size", within=config),
    script:
        "../scripts/filter_traces.py"
