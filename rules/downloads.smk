"""Everything from the hub, downloaded once on a machine with network access: `snakemake downloads`.

Other jobs find it in the hub's cache (HF_HOME) or, for benchmarks, in local files, and need no network.

INPUTS: the hub; without network, its cache.
OUTPUTS: <results>/downloads/{source}.json (commit, licence, files and sizes of what a key of the
configuration names), <results>/downloads.csv; <results>/data/benchmarks/{task}.jsonl and .json (hash).
"""


rule download_source:
    output:
        "<results>/downloads/{source}.json",
    log:
        "<logs>/download_source/{source}.log",
    benchmark:
        "<benchmarks>/download_source/{source}.tsv"
    wildcard_constraints:
        source=either(DOWNLOADS),
    localrule: True
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=1000,
        runtime=1440,
    params:
        code=library_hash("scripts/download_source.py"),
        source=lambda w: DOWNLOADS[w.source]._asdict(),
    script:
        "../scripts/download_source.py"


rule downloads:
    input:
        records=downloaded(*DOWNLOADS),
        benchmarks=prepared_benchmarks(),
    output:
        "<results>/downloads.csv",
    log:
        "<logs>/downloads.log",
    localrule: True
    run:
        hooks.list_downloads(STUDY, input.records, output[0])


rule prepare_benchmark:
    input:
        benchmark_source,
    output:
        benchmark="<results>/data/benchmarks/{task}.jsonl",
        manifest="<results>/data/benchmarks/{task}.json",
    log:
        "<logs>/prepare_benchmark/{task}.log",
    benchmark:
        "<benchmarks>/prepare_benchmark/{task}.tsv"
    wildcard_constraints:
        task=either(BENCHMARK_FILES),
    localrule: True
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        code=library_hash("scripts/prepare_benchmark.py"),
        math=lambda wildcards: wildcards.task in MATH,
        source=lambda w: config["evaluation"]["files"][w.task],
        limit=config["evaluation"]["limit"],
        seed=config["seed"],
    script:
        "../scripts/prepare_benchmark.py"
