"""Every benchmark for base and the final tuned models, through lm-eval, each evaluated once.

INPUTS: <results>/models/{family}/{variant}; the files of `evaluation.files`.
OUTPUTS: <results>/evaluation/{family}/{variant}/: results.json (accuracies), samples.jsonl (outcomes);
where vLLM samples the answers to math sets, answers/{task}.jsonl and
<results>/versions/generate_answers/{family}-{variant}-{task}.json.
"""


rule generate_answers:
    input:
        model="<results>/models/{family}/{variant}",
        problems=lambda w: BENCHMARK_FILES[w.task],
    output:
        answers="<results>/evaluation/{family}/{variant}/answers/{task}.jsonl",
        versions="<results>/versions/generate_answers/{family}-{variant}-{task}.json",
    log:
        "<logs>/generate_answers/{family}/{variant}/{task}.log",
    benchmark:
        "<benchmarks>/generate_answers/{family}/{variant}/{task}.tsv"
    wildcard_constraints:
        task=either(SAMPLED_BY_VLLM),
    priority: 10  # as evaluate_model
    conda:
        env_file("answers")
    envmodules:
        env_module("answers"),
    resources:
        gpu=rule_resource("generate_answers", "gpu"),
        mem_mb=rule_resource("generate_answers", "mem_mb", 4000),
        runtime=rule_resource("generate_answers", "runtime", 240),
    params:
        code=library_hash("scripts/generate_answers.py"),
        evaluation=evaluation_settings(
            "backend", "temperature", "max_new_tokens", "vllm_engine"
        ),
        repeats=lambda w: config["evaluation"]["math"][w.task]["repeats"],
    script:
        "../scripts/generate_answers.py"


rule evaluate_model:
    input:
        model="<results>/models/{family}/{variant}",
        files=BENCHMARK_FILES.values(),
        answers=math_answers,
    output:
        results="<results>/evaluation/{family}/{variant}/results.json",
        samples="<results>/evaluation/{family}/{variant}/samples.jsonl",
    log:
        "<logs>/evaluate_model/{family}/{variant}.log",
    benchmark:
        "<benchmarks>/evaluate_model/{family}/{variant}.tsv"
    priority: 10  # critical samples and interventions wait for it
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("evaluate_model", "gpu"),
        mem_mb=rule_resource("evaluate_model", "mem_mb", 4000),
        runtime=rule_resource("evaluate_model", "runtime", 240),
    params:
        code=library_hash("scripts/evaluate_model.py"),
        evaluation=EVALUATION,
    script:
        "../scripts/evaluate_model.py"
