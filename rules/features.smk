"""Feature cards: what some features of the three-model crosscoder are about.

INPUTS: the trio's crosscoder with its scores, its other seeds, its models, <results>/activations/{family}/corpus.h5;
for the page <results>/interventions/{family}/: comparisons.csv, evidence.json.
OUTPUTS: below <results>/features/: {family}.jsonl (one card per line), {family}.difference-lens.json, {family}.html.
"""


rule collect_feature_cards:
    input:
        crosscoder=f"<results>/crosscoders/{{family}}/{TRIO}/crosscoder.safetensors",
        features=f"<results>/crosscoders/{{family}}/{TRIO}/features.csv",
        mas="<results>/metrics/{family}/mas.csv",
        scores=f"<results>/generalization/{{family}}/{TRIO}/scores.csv",
        selected=f"<results>/generalization/{{family}}/{TRIO}/features.json",
        other_seeds=collect(
            "<results>/crosscoders/{{family}}/{trio}/crosscoder.safetensors",
            trio=other_seeds_of_trio(),
        ),
        other_features=collect(
            "<results>/crosscoders/{{family}}/{trio}/features.csv",
            trio=other_seeds_of_trio(),
        ),
        models=collect("<results>/models/{{family}}/{variant}", variant=FINAL.values()),
        corpus="<results>/activations/{family}/corpus.h5",
    output:
        cards="<results>/features/{family}.jsonl",
        lens="<results>/features/{family}.difference-lens.json",
    log:
        "<logs>/collect_feature_cards/{family}.log",
    benchmark:
        "<benchmarks>/collect_feature_cards/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("collect_feature_cards", "gpu"),
        mem_mb=rule_resource("collect_feature_cards", "mem_mb", 4000),
        runtime=rule_resource("collect_feature_cards", "runtime", 60),
    params:
        code=library_hash("scripts/collect_feature_cards.py"),
        activations=config["activations"],
        each=config["metrics"]["feature_cards"],
        seed=config["seed"],
    script:
        "../scripts/collect_feature_cards.py"


rule write_feature_page:
    input:
        cards="<results>/features/{family}.jsonl",
        lens="<results>/features/{family}.difference-lens.json",
        selected=f"<results>/generalization/{{family}}/{TRIO}/features.json",
        compared="<results>/interventions/{family}/comparisons.csv",
        evidence="<results>/interventions/{family}/evidence.json",
        template=workflow.source_path(
            "../crosslens/reporting/templates/features.html.j2"
        ),
        script=workflow.source_path("../crosslens/reporting/templates/report.js"),
    output:
        report(
            "<results>/features/{family}.html",
            caption="../crosslens/reporting/templates/caption.rst",
            category="Features",
        ),
    log:
        "<logs>/write_feature_page/{family}.log",
    benchmark:
        "<benchmarks>/write_feature_page/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        mem_mb=rule_resource("write_feature_page", "mem_mb", 1000),
        runtime=rule_resource("write_feature_page", "runtime", 10),
    params:
        code=library_hash("scripts/write_feature_page.py"),
        label=lambda w: LABELS[w.family],
        crosscoder=TRIO,
        caption="What some features are about: texts on which they fire, by model.",
    script:
        "../scripts/write_feature_page.py"
