"""The models that are compared: one base model a family, and its descendants."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from crosslens.config.sections.base import Key, Revision, Section, Text, section_from_text


class ModelSource(Section):
    """A model in Hugging Face's layout with base's tokenizer and a chat template."""

    model: Text = Field(
        description="Directory of the model or, with revision, its name on the hub."
    )
    revision: Revision | None = Field(
        None, description="Commit, tag or branch of the model on the hub; main follows the hub."
    )


Descendants = Annotated[
    list[Annotated[ModelSource, section_from_text("model", ModelSource)]],
    Field(min_length=1, max_length=5),
]


class OverridesConfig(Section):
    """Settings of this family, in place of those of the sections sft and grpo (train_sft,
    train_grpo)."""

    sft: dict[Key, JsonValue] = Field(
        {}, description="Keys of the section sft; llamafactory_options are merged (train_sft)."
    )
    grpo: dict[Key, JsonValue] = Field(
        {}, description="Keys of the section grpo; engine_options are merged (train_grpo)."
    )


class FamilyConfig(Section):
    """A base model, its descendants, and its name in figures and tables."""

    label: Text = Field(description="Name in figures, tables and the report (rules/figures.smk).")
    base: Text = Field(
        description="The base model in Hugging Face's layout, with a chat tokenizer: a directory "
        "or, with revision, its name on the hub (import_model).",
    )
    revision: Revision | None = Field(
        None,
        description="Commit, tag or branch of the model on the hub; main follows the hub "
        "(import_model).",
    )
    sft: Descendants | None = Field(
        None,
        description="User-supplied SFT-tuned descendants of base, which are then not trained: all "
        "five checkpoints, or only the last (import_model).",
    )
    rl: Descendants | None = Field(
        None,
        description="User-supplied RL-tuned descendants of base, which are then not trained: all "
        "five checkpoints, or only the last (import_model).",
    )
    checkpoints: Literal["all", "last"] = Field(
        "all",
        description="Checkpoints that are studied; with last, the others are trained but neither "
        "extracted nor compared, and Figures 2 and 7 to 13 show only the last one "
        "(extract_activations, train_crosscoders).",
    )
    overrides: OverridesConfig = OverridesConfig()
