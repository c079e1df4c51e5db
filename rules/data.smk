"""Training data: user-supplied models, problems, the teacher's traces, and the correct ones among them.

INPUTS: the models of `families`, `traces.teacher` and the data sets of `problems`, local or on the hub.
OUTPUTS: <results>/models/{family}/{variant} of models that are not trained here;
<results>/data/: problems.jsonl, problems.json (counts and hashes), overlaps.csv (with benchmarks and
between sources), traces/{part}.jsonl, sft, grpo.parquet, manifest.json; <results>/versions/generate_traces/{part}.json.
"""


rule import_model:
    input:
        model=model_directory,
        download=model_download,
        base=base_of_tuned,
    output:
        directory("<results>/models/{family}/{variant}"),
    log:
        "<logs>/import_model/{family}/{variant}.log",
    benchmark:
        "<benchmarks>/import_model/{family}/{variant}.tsv"
    wildcard_constraints:
        variant=user_supplied_variants(),
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("import_model", "mem_mb", 2000),
        runtime=rule_resource("import_model", "runtime", 60),
    params:
        code=library_hash("scripts/import_model.py"),
        model=model_name,
        revision=model_revision,
    script:
        "../scripts/import_model.py"


rule prepare_problems:
    input:
        sources=local_sources(PROBLEMS["sources"].values()),
        exclude=local_sources(PROBLEMS["exclude"].values()),
        downloads=source_downloads("problems.sources", "problems.exclude"),
    output:
        problems="<results>/data/problems.jsonl",
        overlaps="<results>/data/overlaps.csv",
        manifest="<results>/data/problems.json",
    log:
        "<logs>/prepare_problems.log",
    benchmark:
        "<benchmarks>/prepare_problems.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("prepare_problems", "mem_mb", 1000),
        runtime=rule_resource("prepare_problems", "runtime", 60),
    params:
        code=library_hash("scripts/prepare_problems.py"),
        problems=PROBLEMS,
        seed=config["seed"],
    script:
        "../scripts/prepare_problems.py"


rule generate_traces:
    input:
        teacher=teacher_directory(),
        download=downloaded("traces.teacher"),
        problems="<results>/data/problems.jsonl",
    output:
        traces="<results>/data/traces/{part}.jsonl",
        versions="<results>/versions/generate_traces/{part}.json",
    log:
        "<logs>/generate_traces/{part}.log",
    benchmark:
        "<benchmarks>/generate_traces/{part}.tsv"
    conda:
        env_file("traces")
    envmodules:
        env_module("traces"),
    resources:
        gpu=rule_resource("generate_traces", "gpu"),
        mem_mb=rule_resource("generate_traces", "mem_mb", 3000),
        runtime=rule_resource("generate_traces", "runtime", 60),
    params:
        code=library_hash("scripts/generate_traces.py"),
        traces=TRACES,
        seed=config["seed"],
    script:
        "../scripts/generate_traces.py"


rule filter_traces:
    input:
        traces=collect(
            "<results>/data/traces/{part}.jsonl", part=range(TRACES["shards"])
        ),
        problems="<results>/data/problems.jsonl",
    output:
        sft=directory("<results>/data/sft"),
        grpo="<results>/data/grpo.parquet",
        manifest="<results>/data/manifest.json",
    log:
        "<logs>/filter_traces.log",
    benchmark:
        "<benchmarks>/filter_traces.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("filter_traces", "mem_mb", 1000),
        runtime=rule_resource("filter_traces", "runtime", 60),
    params:
        code=library_hash("scripts/filter_traces.py"),
        traces=TRACES,
        batch_size=config["grpo"]["batch_size"],
    script:
        "../scripts/filter_traces.py"
