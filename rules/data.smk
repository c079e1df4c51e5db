"""Training data: the models that families bring, the problems, the teacher's traces, and what is kept of them.

INPUTS: the models of `families`, `traces.teacher` and the data sets of `problems`, local or of the hub.
OUTPUTS: results/{study}/models/{family}/{variant} of models not trained here, results/{study}/data/: problems.jsonl and problems.json
(their counts and hashes), traces/{part}.jsonl, sft, grpo.parquet, manifest.json;
results/{study}/versions/generate_traces/{part}.json.
"""


rule import_model:
    input:
        model=local_directory,
        base=ancestor_of,
    output:
        directory("results/{study}/models/{family}/{variant}"),
    log:
        "results/{study}/logs/import_model/{family}/{variant}.log",
    benchmark:
        "results/{study}/benchmarks/import_model/{family}/{variant}.tsv"
    wildcard_constraints:
        variant=brought(),
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("import_model", "mem_mb", 1000),
        runtime=need("import_model", "runtime", 60),
    params:
        code=code("scripts/import_model.py"),
        model=lambda w: given_model(w).name,
        revision=lambda w: given_model(w).revision,
    script:
        "../scripts/import_model.py"


rule prepare_problems:
    input:
        sources=local_sources(PROBLEMS["sources"].values()),
        exclude=local_sources(PROBLEMS["exclude"].values()),
    output:
        problems="results/{study}/data/problems.jsonl",
        manifest="results/{study}/data/problems.json",
    log:
        "results/{study}/logs/prepare_problems.log",
    benchmark:
        "results/{study}/benchmarks/prepare_problems.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("prepare_problems", "mem_mb", 1000),
        runtime=need("prepare_problems", "runtime", 60),
    params:
        code=code("scripts/prepare_problems.py"),
        problems=PROBLEMS,
    script:
        "../scripts/prepare_problems.py"


rule generate_traces:
    input:
        teacher=local_model(TRACES, "teacher"),
        problems="results/{study}/data/problems.jsonl",
    output:
        traces="results/{study}/data/traces/{part}.jsonl",
        versions="results/{study}/versions/generate_traces/{part}.json",
    log:
        "results/{study}/logs/generate_traces/{part}.log",
    benchmark:
        "results/{study}/benchmarks/generate_traces/{part}.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['traces']}.yaml"
    envmodules:
        module("traces"),
    threads: 1
    resources:
        gpu=gpus("generate_traces"),
        mem_mb=need("generate_traces", "mem_mb", 3000),
        runtime=need("generate_traces", "runtime", 60),
    params:
        code=code("scripts/generate_traces.py"),
        traces=TRACES,
        seed=lookup(dpath="seed", within=config),
    script:
        "../scripts/generate_traces.py"


rule filter_traces:
    input:
        traces=expand(
            "results/{{study}}/data/traces/{part}.jsonl",
            part=range(TRACES["shards"]),
        ),
        problems="results/{study}/data/problems.jsonl",
    output:
        sft=directory("results/{study}/data/sft"),
        grpo="results/{study}/data/grpo.parquet",
        manifest="results/{study}/data/manifest.json",
    log:
        "results/{study}/logs/filter_traces.log",
    benchmark:
        "results/{study}/benchmarks/filter_traces.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("filter_traces", "mem_mb", 1000),
        runtime=need("filter_traces", "runtime", 60),
    params:
        code=code("scripts/filter_traces.py"),
        traces=TRACES,
        batch_size=lookup(dpath="grpo/batch_size", within=config),
    script:
        "../scripts/filter_traces.py"
