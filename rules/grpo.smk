"""Reinforcement of each family's base model by GRPO, on the outcome of its answers alone.

INPUTS: results/{study}/models/{family}/base, results/{study}/data/: problems.jsonl, grpo.parquet.
OUTPUTS: results/{study}/data/prompts/{family}.json (counts); results/{study}/models/{family}/: rl-1 ... rl-5 (Hugging Face directories after each fifth
of the epoch), grpo-curves.csv (reward, length, clip fraction, entropy);
results/{study}/versions/train_grpo/{family}.json.
"""


rule count_prompts:
    input:
        base="results/{study}/models/{family}/base",
        problems="results/{study}/data/problems.jsonl",
    output:
        "results/{study}/data/prompts/{family}.json",
    log:
        "results/{study}/logs/count_prompts/{family}.log",
    benchmark:
        "results/{study}/benchmarks/count_prompts/{family}.tsv"
    wildcard_constraints:
        family=trained("rl"),
    priority: 20  # GRPO waits for it
    conda:
        f"../envs/{ENVIRONMENTS['grpo']}.yaml"
    envmodules:
        module("grpo"),
    threads: 1
    resources:
        gpu=0,
        mem_mb=need("count_prompts", "mem_mb", 2000),
        runtime=need("count_prompts", "runtime", 30),
    params:
        code=code("scripts/count_prompts.py"),
        grpo=lambda w: {
            key: settings_of(config, "grpo", w.family)[key]
            for key in ("max_prompt_length", "batch_size")
        },
    script:
        "../scripts/count_prompts.py"


rule train_grpo:
    input:
        base="results/{study}/models/{family}/base",
        data="results/{study}/data/grpo.parquet",
        # That enough prompts fit, said before the wait for GPUs; a count made again changes nothing.
        counted=ancient("results/{study}/data/prompts/{family}.json"),
    output:
        checkpoints=directory(
            expand(
                "results/{{study}}/models/{{family}}/rl-{k}",
                k=CHECKPOINT_NUMBERS,
            )
        ),
        curves="results/{study}/models/{family}/grpo-curves.csv",
        versions="results/{study}/versions/train_grpo/{family}.json",
    log:
        "results/{study}/logs/train_grpo/{family}.log",
    benchmark:
        "results/{study}/benchmarks/train_grpo/{family}.tsv"
    wildcard_constraints:
        family=trained("rl"),
    priority: 20  # the longest job: whatever else is ready waits
    conda:
        f"../envs/{ENVIRONMENTS['grpo']}.yaml"
    envmodules:
        module("grpo"),
    threads: 1
    resources:
        gpu=gpus("train_grpo"),
        mem_mb=need("train_grpo", "mem_mb", 8000),
        runtime=need("train_grpo", "runtime", 240),
    params:
        code=code("scripts/train_grpo.py", *GRPO_PROCESSES),
        grpo=lambda w: settings_of(config, "grpo", w.family),
        seed=lookup(dpath="seed", within=config),
    script:
        "../scripts/train_grpo.py"
