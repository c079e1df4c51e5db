"""Synthetic data in place of the hub, made from the seed: problems, benchmarks, corpora, two models.

No later rule depends on whether its inputs are synthetic.

INPUTS: the section `world` of the configuration.
OUTPUTS: <results>/world/: problems.jsonl, benchmarks/*.jsonl, corpora/*.jsonl, tokenizer/,
base/ and teacher/ (Hugging Face directories), base-loss.csv, teacher-loss.csv.
"""


rule build_world:
    output:
        problems="<results>/world/problems.jsonl",
        benchmarks=expand(
            "<results>/world/benchmarks/{task}.jsonl", task=SYNTHETIC_TASKS
        ),
        reasoning="<results>/world/corpora/reasoning.jsonl",
        general="<results>/world/corpora/general.jsonl",
        tokenizer=directory("<results>/world/tokenizer"),
    log:
        "<logs>/build_world.log",
    benchmark:
        "<benchmarks>/build_world.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=library_hash("scripts/build_world.py"),
        max_operations=synthetic("max_operations"),
        problems=synthetic("problems"),
        benchmark_items=synthetic("benchmark_items"),
        corpus_tokens=synthetic("corpus_tokens"),
        reliable_fraction=synthetic("base/reliable_fraction"),
        source_tag_fraction=synthetic("base/source_tag_fraction"),
        seed=config["seed"],
    script:
        "../scripts/build_world.py"


rule pretrain_base:
    input:
        tokenizer=ancient("<results>/world/tokenizer"),  # its words do not depend on the configuration
    output:
        model=directory("<results>/world/base"),
        loss="<results>/world/base-loss.csv",
    log:
        "<logs>/pretrain_base.log",
    benchmark:
        "<benchmarks>/pretrain_base.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        code=library_hash("scripts/pretrain_base.py"),
        architecture=synthetic("architecture"),
        model=synthetic("model"),
        pretraining=synthetic("base"),
        max_operations=synthetic("max_operations"),
        seed=config["seed"],
    script:
        "../scripts/pretrain_base.py"


rule pretrain_teacher:
    input:
        tokenizer=ancient("<results>/world/tokenizer"),  # its words do not depend on the configuration
    output:
        model=directory("<results>/world/teacher"),
        loss="<results>/world/teacher-loss.csv",
    log:
        "<logs>/pretrain_teacher.log",
    benchmark:
        "<benchmarks>/pretrain_teacher.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        code=library_hash("scripts/pretrain_teacher.py"),
        architecture=synthetic("architecture"),
        model=synthetic("model"),
        pretraining=synthetic("teacher"),
        max_operations=synthetic("max_operations"),
        seed=config["seed"],
    script:
        "../scripts/pretrain_teacher.py"
