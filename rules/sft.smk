"""Supervised fine-tuning with LLaMA-Factory: full parameters, one epoch, a checkpoint per fifth.

INPUTS: results/{study}/models/{family}/base, results/{study}/data/sft.
OUTPUTS: results/{study}/models/{family}/sft-1 ... sft-5, results/{study}/models/{family}/sft-loss.csv,
results/{study}/versions/train_sft/{family}.json.
"""


rule train_sft:
    input:
        base="results/{study}/models/{family}/base",
        data="results/{study}/data/sft",
    output:
        checkpoints=directory(
            expand(
                "results/{{study}}/models/{{family}}/sft-{k}",
                k=CHECKPOINT_NUMBERS,
            )
        ),
        loss="results/{study}/models/{family}/sft-loss.csv",
        versions="results/{study}/versions/train_sft/{family}.json",
    log:
        "results/{study}/logs/train_sft/{family}.log",
    benchmark:
        "results/{study}/benchmarks/train_sft/{family}.tsv"
    wildcard_constraints:
        family=trained("sft"),
    conda:
        f"../envs/{ENVIRONMENTS['sft']}.yaml"
    envmodules:
        module("sft"),
    threads: 1
    resources:
        gpu=gpus("train_sft"),
        mem_mb=need("train_sft", "mem_mb", 3000),
        runtime=need("train_sft", "runtime", 60),
    params:
        code=code("scripts/train_sft.py", *SFT_PROCESSES),
        sft=lambda w: settings_of(config, "sft", w.family),
        seed=lookup(dpath="seed", within=config),
    script:
        "../scripts/train_sft.py"
