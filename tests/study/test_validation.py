"""What is refused before the first job, and how it is reported; defaults are filled in."""

import json
from collections.abc import Iterator

import pytest
import yaml
from conftest import ROOT, Study

from crosslens.config.loading import load_study
from crosslens.config.messages import RENAMED, description, resolved, value_at
from crosslens.config.sections import Section
from crosslens.config.sections.families import OverridesConfig
from crosslens.config.study import StudyConfig
from crosslens.config.synthetic_constants import SYNTHETIC_POSITIONS
from crosslens.config.workflow_checks import RENAMED_RULES
from crosslens.io.errors import InputError

SCRIPTS = ROOT / "scripts"
PROBLEM = {"problem": "1 + 1", "answer": "2", "source": "here"}


@pytest.fixture(autouse=True)
def inside(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the study's directory."""
    monkeypatch.chdir(study.folder)


def refusal(study: Study, gpus: int | None = None) -> str:
    """Return the message of the InputError: one line."""
    with pytest.raises(InputError) as error:
        load_study(study.config, SCRIPTS, gpus)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("crosscoder.d_spars", 64, "crosscoder.d_spars: unknown key. Did you mean d_sparse?"),
        ("crosscodr", {}, "crosscodr: unknown key. Did you mean crosscoder?"),
        (
            "grpo.rollouts",
            "eight",
            "found 'eight' (text), must be an integer from 2 to 1024. Com",
        ),
        ("sft.learning_rate", "1e-3", "(write it as 0.001, without quotes)"),
        ("crosscoder.beta", -1, "crosscoder.beta: found -1"),
        ("sft", 5, "sft: found 5 (an integer), must be a section of keys"),
        ("world.architecture", "gpt2", "must be one of qwen3, qwen2, llama"),
        ("activations.layer", 4, "activations.layer: 4 is out of range for families.tiny"),
        ("activations.layer", "last", "activations.layer: found 'last'"),
        ("traces.teacher", "teacher", "traces.teacher: there is no model directory teacher"),
        (
            "families.tiny.base",
            "no/model",
            "If it is a model of the hub, add its revision (or main) next to families.tiny.base.",
        ),
        ("families.tiny.base", "a/b/c", "families.tiny.base: there is no model directory a/b/c"),
        (
            "families.tiny.base",
            "results/other/world/base",
            "For this study, give results/mini/world/base.",
        ),
        ("problems", "p.jsonl", "problems: found 'p.jsonl' (text), must be a section of keys"),
        ("problems.sources.world", "p.jsonl", "sources.world: there is no file p.jsonl"),
        ("problems.exclude.aime24", "p.jsonl", "exclude.aime24: there is no file p.jsonl"),
        ("problems.sources.world", {"files": "*"}, "problems.sources.world.dataset: missing"),
        (
            "problems.expected_count",
            [9, 5],
            "problems.expected_count: 9 is more than 5. Write the smaller number first.",
        ),
        ("traces.revision", "main", "traces.teacher: results/mini/world/teacher has a revision"),
        (
            "traces.vllm_sampling",
            {"top_p": 0.9},
            "traces.vllm_sampling: top_p would be passed to vLLM",
        ),
        (
            "evaluation.vllm_engine",
            {"max_model_len": 9},
            "evaluation.vllm_engine: max_model_len would be passed to vLLM, but backend is",
        ),
        ("evaluation.backend", "sglang", "evaluation.backend: found 'sglang' (text), must be one"),
        ("traces.max_new_tokens", 321, "sft.max_length: 320 would truncate traces"),
        ("problems.limit", 159, "problems.limit: 159 problems are too few for 5 steps of grpo"),
        ("traces", {"backend": "vllm"}, "traces.teacher: missing, but backend is vllm. Give"),
        (
            "traces",
            {"backend": "solutions", "teacher": "t"},
            "traces.teacher: t has no effect, as nothing is sampled with backend: solutions",
        ),
        (
            "traces",
            {"backend": "solutions", "temperature": 0.5},
            "traces.temperature: 0.5 has no effect",
        ),
        (
            "traces",
            {"backend": "solutions"},
            "traces.backend: solutions needs a column solution, or answers in GSM8K's form",
        ),
        ("sft.deepspeed", "zero3", "DeepSpeed needs GPUs, but resources.train_sft.gpu is 0"),
        (
            "grpo.tokens_per_device",
            191,
            "tokens_per_device: 191 tokens are too few for one prompt",
        ),
        ("families.tiny.overrides.sft.lr", 1, "families.tiny.overrides.sft.lr: unknown key"),
        (
            "families.tiny.overrides.grpo.mini_batch_size",
            20,
            "overrides.grpo.mini_batch_size: 20 does",
        ),
        ("evaluation.files.piqa", "p.jsonl", "evaluation.files.piqa: there is no file p.jsonl"),
        ("evaluation.files.piqua", "p.jsonl", "unknown task. Did you mean piqa?"),
        ("corpus.sources.general", "g.jsonl", "corpus.sources.general: there is no file"),
        ("world.problems", 31, "world.problems: 31 problems are too few for 5 steps"),
        (
            "world.problems",
            100,
            "100 problems are too few for 5 steps of grpo.batch_size: 32, one step",
        ),
        (
            "problems.expected_count",
            [1, 9],
            "is outside problems.expected_count: 1 to 9. Change one",
        ),
        ("world.model.head_dim", 7, "world.model.head_dim: 7 is odd, but rotary"),
        ("grpo.mini_batch_size", 20, "grpo.mini_batch_size: 20 does not divide batch_size: 32."),
        ("sft.micro_batch_size", 3, "sft.micro_batch_size: 3 does not divide batch_size: 8."),
        (
            "grpo.engine_options",
            {"custom_reward_function.path": "mine.py"},
            "grpo.engine_options.custom_reward_function.path: the reward is fixed",
        ),
        (
            "families.tiny.overrides.grpo.engine_options",
            {"reward.custom_reward_function.name": "mine"},
            "overrides.grpo.engine_options.reward.custom_reward_function.name: the reward",
        ),
        ("grpo.device", "cuda", "grpo.device: cuda needs a GPU, but resources.train_grpo.gpu is 0"),
        (
            "evaluation.heldout_tasks",
            [],
            "evaluation.heldout_tasks: found [] (a list), must be a list",
        ),
        ("evaluation.tasks", ["openbookq"], "Did you mean openbookqa?"),
        ("evaluation.tasks", ["gsm8k"], "evaluation.tasks: gsm8k is not among the multiple-choice"),
        (
            "evaluation.heldout_tasks",
            ["aime24"],
            "heldout_tasks: aime24 is a math set. Move it to math.",
        ),
        (
            "evaluation.math.sciq",
            {"repeats": 1},
            "evaluation.math: sciq is a multiple-choice task. Move it to tasks or heldout_tasks.",
        ),
        (
            "evaluation.heldout_tasks",
            ["sciq"],
            "evaluation.heldout_tasks: sciq is also in tasks. Remove it",
        ),
        ("families.second", {"label": "Mini-Qwen3", "base": "results/mini/world/base"}, "another"),
        ("corpus.tokens", 1000, "1000 tokens in activations.shards: 2 give 381 activations per"),
        ("activations.shards", 10000, "shards: 10000 give 0 activations per shard, fewer than"),
        ("crosscoder.batch_size", 1000000, "fewer than crosscoder.batch_size: 1000000"),
        ("activations.skip_positions", 128, "skip_positions: 128 leaves no token in a sequence"),
        (
            "corpus.tokens",
            360192,
            "take 200064 tokens from corpus.sources.reasoning",
        ),
        ("world.corpus_tokens.general", 169855, "take 169856 tokens from corpus.sources.general"),
        (
            "corpus.sequence_length",
            513,
            "513 is more than max_position_embeddings",
        ),
        (
            "world.base.sequence_length",
            SYNTHETIC_POSITIONS + 1,
            "must be an integer from 64 to 512.",
        ),
        (
            "world.teacher.sequence_length",
            SYNTHETIC_POSITIONS + 1,
            "must be an integer from 64 to 512.",
        ),
        ("corpus.sequence_length", 65537, "found 65537 (an integer), must be an integer"),
        ("crosscoder.beta", float("nan"), "crosscoder.beta: found nan, must be a finite number"),
        ("interventions.amplify_to", float("inf"), "amplify_to: found inf, must be a finite"),
        ("figures.families", ["tiny", "tiny", "tin"], "unknown family tin. Did you mean tiny?"),
        ("resources.train_crosscoder", {"gpu": 1}, "unknown rule. Did you mean train_crosscoders?"),
    ],
)
def test_a_bad_value_is_refused(study: Study, key: str, value: object, said: str) -> None:
    study.change(key, value)
    assert said in refusal(study)


def test_a_missing_key_is_named(study: Study) -> None:
    del study.config["corpus"]["tokens"]
    assert "corpus.tokens: missing, must be an integer from 1000 to" in refusal(study)


def test_world_files_need_the_world_section(study: Study) -> None:
    del study.config["world"]
    assert "part of the synthetic data, but the section world is missing" in refusal(study)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("config.json", "families.tiny.base: there is no file base/config.json"),
        ("model.safetensors", "families.tiny.base: base has no weights"),
    ],
)
def test_an_incomplete_model_directory(study: Study, missing: str, said: str) -> None:
    (study.model("base") / missing).unlink()
    study.change("families.tiny.base", "base")
    assert said in refusal(study)


def test_a_layer_out_of_range_of_a_given_model(study: Study) -> None:
    study.model("base", layers=3)
    study.change("families.tiny.base", "base")
    study.change("activations.layer", 3)
    assert "whose model has 3 layers. Choose 1 to 2, or middle." in refusal(study)


@pytest.mark.parametrize("key", ["base", "sft"])
def test_sequences_beyond_the_positions_of_a_given_model(study: Study, key: str) -> None:
    study.model("model", max_position_embeddings=127)
    study.change(f"families.tiny.{key}", "model" if key == "base" else ["model"])
    where = "base" if key == "base" else "sft-5"
    said = "corpus.sequence_length: 128 is more than max_position_embeddings: 127 of "
    where = f"families.tiny.{where}. Lower the sequence length."
    assert said + where in refusal(study)


@pytest.mark.parametrize(
    "positions", [{}, {"factor": 2.0}, {"original_max_position_embeddings": 64}]
)
def test_sequences_within_scaled_positions_of_a_given_model(study: Study, positions: dict) -> None:
    """127 scaled to 254, or 64 to 128; without any number there is nothing to hold against."""
    scaling = {"rope_type": "yarn", "factor": 2.0, **positions}
    study.model(
        "base", **({"max_position_embeddings": 127} if positions else {}), rope_scaling=scaling
    )
    study.change("families.tiny.base", "base")
    load_study(study.config, SCRIPTS)


def test_positions_and_layers_under_the_names_of_transformers_5_and_of_gpt2(study: Study) -> None:
    scaled = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64}
    study.model("base", max_position_embeddings=64, rope_parameters=scaled)
    study.change("families.tiny.base", "base")
    load_study(study.config, SCRIPTS)
    gpt2 = study.folder / "base" / "config.json"
    gpt2.write_text(json.dumps({"n_layer": 4, "n_positions": 128}))
    study.change("activations.layer", 3)
    load_study(study.config, SCRIPTS)
    gpt2.write_text(json.dumps({"n_layer": 4, "n_positions": 127}))
    assert "max_position_embeddings: 127 of" in refusal(study)
    gpt2.write_text(json.dumps({"text_config": {"num_hidden_layers": 4}}))
    assert "families.tiny: base has no num_hidden_layers in its config.json" in refusal(study)


def test_a_chat_template_is_needed_for_math_sets_and_training(study: Study) -> None:
    (study.model("base") / "chat_template.jinja").unlink()
    study.change("families.tiny.base", "base")
    assert "families.tiny.base: the tokenizer of base has no chat template" in refusal(study)
    for task in study.config["evaluation"].pop("math"):
        del study.config["evaluation"]["files"][task]
    study.change("evaluation.math", {})
    study.change("problems.exclude", {})
    assert "has no chat template" in refusal(study)
    study.change(
        "families.tiny", {"base": "base", "label": "Tiny", "sft": ["base"], "rl": ["base"]}
    )
    load_study(study.config, SCRIPTS)


@pytest.mark.parametrize(
    ("template", "enough"),
    [
        ("{{ messages }}", True),
        ("", False),
        ([{"name": "tool_use", "template": "x"}], False),
        ([{"name": "tool_use", "template": "x"}, {"name": "default", "template": "y"}], True),
    ],
)
def test_a_teachers_chat_template_may_be_in_its_settings(
    study: Study, template: str | list, enough: bool
) -> None:
    """Where transformers 4 writes it: of several named ones, prompts are made by the default."""
    (study.model("teacher") / "chat_template.jinja").unlink()
    settings = study.folder / "teacher" / "tokenizer_config.json"
    settings.write_text(json.dumps({"chat_template": template}))
    study.change("traces.teacher", "teacher")
    if enough:
        load_study(study.config, SCRIPTS)
    else:
        expected = "traces.teacher: the tokenizer of teacher has no chat template"
        assert expected in refusal(study)


def test_a_descendant_may_have_added_tokens(study: Study) -> None:
    base, tuned = study.model("base"), study.model("results/mini/models/tiny/rl-3")
    study.change("families.tiny.base", "base")
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    tokenizer["added_tokens"] = [{"content": "<think>", "id": 2}]
    (tuned / "tokenizer.json").write_text(json.dumps(tokenizer))
    load_study(study.config, SCRIPTS)
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))
    (tuned / "tokenizer.json").write_text(json.dumps(tokenizer | {"added_tokens": []}))
    assert "it may have additional tokens" in refusal(study)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_key_is_refused_with_its_new_name(study: Study, old: str, new: str) -> None:
    *parents, _ = old.split(".")
    assert value_at([*parents, new], study.config) is not None
    study.change(old, 1)
    assert refusal(study) == f"{old}: this key has a new name. Rename it to {new}."


@pytest.mark.parametrize(("old", "new"), RENAMED_RULES.items())
def test_an_old_rule_is_refused_with_its_new_name(study: Study, old: str, new: str) -> None:
    study.change(f"resources.{old}", {"mem_mb": 1})
    key = f"resources.{old}"
    assert refusal(study) == f"{key}: this rule has a new name. Rename it to {new}."
    assert (SCRIPTS / f"{new}.py").is_file()


def test_an_old_key_among_a_familys_own_settings_is_refused(study: Study) -> None:
    study.change("families.tiny.overrides", {"sft": {"options": {"template": "qwen"}}})
    key = "families.tiny.overrides.sft.options"
    assert refusal(study) == (f"{key}: this key has a new name. Rename it to llamafactory_options.")


def test_tokenizers_that_differ(study: Study) -> None:
    study.model("base")
    study.model("results/mini/models/tiny/rl-3", words="a c")
    study.change("families.tiny.base", "base")
    said = "tokenizers of base and results/mini/models/tiny/rl-3 differ"
    assert said in refusal(study)


def test_a_benchmark_that_the_world_does_not_write(study: Study) -> None:
    study.config["evaluation"]["tasks"].append("arc_easy")
    study.change("evaluation.files.arc_easy", "results/mini/world/benchmarks/arc_easy.jsonl")
    assert "files.arc_easy: the synthetic data have no arc_easy, only" in refusal(study)


def test_a_benchmark_file_without_a_column(study: Study) -> None:
    row = {"goal": "open it", "sol1": "key", "label": 0}
    study.change("evaluation.files.piqa", study.rows("piqa.jsonl", row))
    said = "piqa.jsonl has no column sol2, only goal, sol1, label."
    assert said in refusal(study)


def test_a_later_row_of_a_benchmark_file_without_a_column(study: Study) -> None:
    whole = {"goal": "open it", "sol1": "key", "sol2": "spoon", "label": 0}
    rows = [whole, whole, {"goal": "shut it"}]
    study.change("evaluation.files.piqa", study.rows("piqa.jsonl", *rows))
    assert "piqa.jsonl, line 3, has no column sol1" in refusal(study)


@pytest.mark.parametrize(
    ("value", "what"), [(None, "null"), ("half \ud83d", "not valid Unicode")], ids=["null", "half"]
)
def test_a_row_of_a_benchmark_file_without_a_text(study: Study, value, what: str) -> None:
    whole = {"goal": "open it", "sol1": "key", "sol2": "spoon", "label": 0}
    study.change("evaluation.files.piqa", study.rows("piqa.jsonl", whole, whole | {"sol2": value}))
    assert f"piqa.jsonl, line 2, column sol2 is {what}. Correct the row." in refusal(study)


def test_a_held_out_shard_without_a_sequence_of_each_source(study: Study) -> None:
    study.change("corpus.sequence_length", 1024)
    study.change("corpus.heldout_tokens", 2047)
    said = "heldout_tokens: 2047 tokens are too few for one sequence of sequence_length: 1024 "
    assert said in refusal(study)


def test_a_task_of_the_hub_with_an_accuracy(study: Study) -> None:
    study.config["evaluation"]["tasks"].append("social_iqa")
    assert "evaluation.files.social_iqa: missing. Give a local file, or a data set" in refusal(
        study
    )
    source = {
        "dataset": "org/social_i_qa",
        "revision": "refs/convert/parquet",
        "files": "*/x.parquet",
    }
    study.change("evaluation.files.social_iqa", source)
    load_study(study.config, SCRIPTS)


def test_a_problems_file_without_a_column(study: Study) -> None:
    rows = [{"prompt": "1 + 1", "answer": "2", "source": "here"}] * 200
    study.change("problems.sources.world", study.rows("problems.jsonl", *rows))
    assert "problems.jsonl has no column problem, Problem or" in refusal(study)


def test_fewer_problems_than_a_batch(study: Study) -> None:
    study.change("problems.sources.world", study.rows("problems.jsonl", *[PROBLEM] * 31))
    said = "sources.world: problems.jsonl: 31 problems are too few for 5 steps"
    assert said in refusal(study)


def test_a_file_that_is_not_json(study: Study) -> None:
    (study.folder / "piqa.jsonl").write_text("goal,sol1\n")
    study.change("evaluation.files.piqa", "piqa.jsonl")
    assert "the first line of piqa.jsonl is not a JSON object" in refusal(study)


def test_a_corpus_without_text(study: Study) -> None:
    study.change("corpus.sources.general", study.rows("general.jsonl", {"words": "a b"}))
    assert "general.jsonl has no column text or conversations" in refusal(study)


def test_trl_on_two_gpus(study: Study) -> None:
    study.change("grpo.engine", "trl")
    study.change("resources.train_grpo", {"gpu": 2})
    said = "grpo.engine: trl trains on one GPU, but resources.train_grpo.gpu is 2"
    assert said in refusal(study)


def test_a_gpu_limit_below_a_rules_need(study: Study) -> None:
    study.change("resources.train_grpo", {"gpu": 8})
    said = "resources.train_grpo.gpu: the rule needs 8 GPUs, but --resources gpu=4 allows 4"
    assert said in refusal(study, gpus=4)


def test_models_and_data_of_the_hub_are_not_looked_for(study: Study) -> None:
    """A dry run asks no network."""
    study.change("families.tiny", {"label": "A", "base": "org/model", "revision": "main"})
    study.config["traces"].update(teacher="org/teacher", revision="v1.0")
    source = {"dataset": "org/data", "revision": "0" * 40, "files": "train/*.parquet"}
    study.config["problems"].update(sources={"hub": source}, expected_count=[200, 300])
    study.config["corpus"]["sources"]["general"] = source
    load_study(study.config, SCRIPTS)
    study.config["problems"]["expected_count"] = [100, 300]
    assert "problems.expected_count: 100 problems are too few for 5 steps" in refusal(study)


def test_solutions_instead_of_a_teacher(study: Study) -> None:
    """A trace can be longer than any that is sampled; a limit on sampling is not asked for."""
    study.change("traces", {"backend": "solutions"})
    study.change("grpo.batch_size", 1)
    study.change("grpo.mini_batch_size", 1)
    problem = {"question": "What is 1 plus 1?", "answer": "1+1=2\n#### 2"}
    study.change("problems.sources", {"gsm8k": study.rows("gsm8k.jsonl", *5 * [problem])})
    assert load_study(study.config, SCRIPTS).traces.teacher is None


def test_a_familys_own_settings(study: Study) -> None:
    own = {"max_length": 400, "llamafactory_options": {"template": "qwen"}}
    study.change("families.tiny.overrides", {"sft": own})
    loaded = load_study(study.config, SCRIPTS)
    merged = loaded.training_settings("tiny")["sft"]
    assert merged["max_length"] == 400 and merged["batch_size"] == 8
    assert merged["llamafactory_options"] == {
        **study.config["sft"]["llamafactory_options"],
        "template": "qwen",
    }
    assert loaded.training_settings("tiny")["grpo"] == study.config["grpo"]


def test_vocabularies_are_compared_not_files(study: Study) -> None:
    base, tuned = study.model("base"), study.model("results/mini/models/tiny/sft-1")
    text = (base / "tokenizer.json").read_text()
    (tuned / "tokenizer.json").write_text(text.replace(", ", ",\n"))
    study.change("families.tiny.base", "base")
    load_study(study.config, SCRIPTS)


def test_defaults_are_filled_in(study: Study) -> None:
    del study.config["crosscoder"]["beta"], study.config["interventions"]
    load_study(study.config, SCRIPTS)
    assert study.config["crosscoder"]["beta"] == 2.0
    assert study.config["interventions"] == {"amplify_to": 3.0, "random_sets": 5}


@pytest.mark.parametrize("file", ["config.yaml", "mini.yaml", "tests/config/tiny.yaml"])
def test_our_own_configurations_state_every_key(file: str) -> None:
    """Nobody has to look for a key; left out are only those that have no default."""
    study = StudyConfig.model_validate(yaml.safe_load((ROOT / file).read_text()))
    assert list(unstated(study)) == ["resources"] * (file != "config.yaml")


def unstated(section: Section, path: str = "") -> Iterator[str]:
    """Keys that have a default and are not in the configuration."""
    for key, field in type(section).model_fields.items():
        below = getattr(section, key)
        if key not in section.model_fields_set and field.default is not None:
            yield f"{path}{key}"
        elif isinstance(below, Section) and not isinstance(below, OverridesConfig):
            yield from unstated(below, f"{path}{key}.")


def test_every_key_has_a_description_and_a_range() -> None:
    """Also those of sections by name, and the entries of lists."""
    schema = StudyConfig.model_json_schema()
    for name, part in [("", schema), *schema["$defs"].items()]:
        for key, field in part.get("properties", {}).items():
            field = resolved(field, schema)
            assert description(field, schema).endswith("."), f"{name}.{key}"
            for option in field.get("anyOf", [field]):
                assert bounded(resolved(option, schema)), f"{name}.{key}"


def bounded(part: dict) -> bool:
    """Whether a type says what is allowed."""
    if part["type"] in ("integer", "number"):
        lower, upper = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
        return bool(lower & part.keys() and upper & part.keys())
    if part["type"] == "string":
        return bool({"enum", "const", "pattern", "minLength"} & part.keys())
    if part["type"] == "object":
        named = {"patternProperties", "propertyNames"} & part.keys()
        return part.get("additionalProperties") is False or bool(named)
    return part["type"] in ("array", "boolean", "null")
