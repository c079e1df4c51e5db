"""A local stand-in for the hub, built from the seed: problems, benchmarks, corpora, two models.

INPUTS: the `world` section of the configuration.
OUTPUTS: results/{study}/world/: problems.jsonl, benchmarks/*.jsonl, corpora/*.jsonl, tokenizer/,
base/ and teacher/ (Hugging Face directories), and the loss of their pretraining.
No rule after these knows whether its input came from here or from the hub.
"""


rule build_world:
    output:
        problems="results/{study}/world/problems.jsonl",
        benchmarks=expand(
            "results/{{study}}/world/benchmarks/{task}.jsonl",
            task=OF_WORLD,
        ),
        reasoning="results/{study}/world/corpora/reasoning.jsonl",
        general="results/{study}/world/corpora/general.jsonl",
        tokenizer=directory("results/{study}/world/tokenizer"),
    log:
        "results/{study}/logs/build_world.log",
    benchmark:
        "results/{study}/benchmarks/build_world.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=2000,
        runtime=10,
    params:
        code=code("scripts/build_world.py"),
        world=part_of_world(
            "max_operations", "benchmark_items", "problems", "corpus_tokens"
        ),
        careful_share=lookup(
            dpath="world/base/careful_share", within=config, default=None
        ),
        tag_share=lookup(dpath="world/base/tag_share", within=config, default=None),
        seed=lookup(dpath="seed", within=config),
    script:
        "../scripts/build_world.py"


rule pretrain_base:
    input:
        tokenizer=ancient("results/{study}/world/tokenizer"),  # the same words in every world
    output:
        model=directory("results/{study}/world/base"),
        loss="results/{study}/world/base-loss.csv",
    log:
        "results/{study}/logs/pretrain_base.log",
    benchmark:
        "results/{study}/benchmarks/pretrain_base.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=3000,
        runtime=60,
    params:
        code=code("scripts/pretrain_base.py"),
        world=part_of_world("architecture", "model", "base", "max_operations"),
        seed=lookup(dpath="seed", within=config),
    script:
        "../scripts/pretrain_base.py"


rule pretrain_teacher:
    input:
        tokenizer=ancient("results/{study}/world/tokenizer"),  # the same words in every world
    output:
        model=directory("results/{study}/world/teacher"),
        loss="results/{study}/world/teacher-loss.csv",
    log:
        "results/{study}/logs/pretrain_teacher.log",
    benchmark:
        "results/{study}/benchmarks/pretrain_teacher.tsv"
    conda:
        f"../envs/{ENVIRONMENTS['analysis']}.yaml"
    envmodules:
        module("analysis"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=3000,
        runtime=60,
    params:
        code=code("scripts/pretrain_teacher.py"),
        world=part_of_world("architecture", "model", "teacher", "max_operations"),
        seed=lookup(dpath="seed", within=config),
    script:
        "../scripts/pretrain_teacher.py"
