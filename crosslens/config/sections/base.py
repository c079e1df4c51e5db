"""The base class of all sections, and the types of values that recur."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
)

from crosslens.io.errors import InputError

Text = Annotated[str, StringConstraints(min_length=1)]


class Section(BaseModel):
    """A section of the configuration.

    Values are not converted: the text "8" is refused where a number is needed. An unknown key is
    refused, and a section cannot be changed after it was read.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def plain(self) -> dict[str, Any]:
        """Return the section as a dictionary, without keys that have no value."""
        return {
            key: plain(value)
            for key in type(self).model_fields
            if (value := getattr(self, key)) is not None
        }


def plain(value: Any) -> Any:
    """Return a value with the sections in it as dictionaries."""
    if isinstance(value, Section):
        return value.plain()
    if isinstance(value, dict):
        return {key: plain(below) for key, below in value.items()}
    return list(map(plain, value)) if isinstance(value, list) else value


def check_divides(key: str, part: int, of: str, total: int) -> None:
    """Raise InputError unless `part` divides `total`; keys are relative to their section."""
    if total % part:
        raise InputError(
            f"{key}: {part} does not divide {of}: {total}. Choose a divisor of {total}."
        )


def without_repeats(values: list[str]) -> list[str]:
    """Return the list. Raises ValueError if an entry is repeated."""
    if len(set(values)) < len(values):
        raise ValueError
    return values


def section_from_text(key: str, section: type[Section]) -> BeforeValidator:
    """Return a validator that reads text as a section with only this key."""

    def read(value: Any) -> Any:
        return {key: value} if isinstance(value, str) else value

    return BeforeValidator(read, json_schema_input_type=Text | section)


def refuse_vllm_options(backend: str, **options: dict[str, Any]) -> None:
    """Raise InputError for options of vLLM where transformers samples."""
    for key, given in options.items():
        if backend == "transformers" and given:
            raise InputError(
                f"{key}: {', '.join(given)} would be passed to vLLM, but backend is "
                f"transformers. Leave {key} empty, or set backend: vllm."
            )


Revision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
BatchSize = Annotated[int, Field(ge=1, le=65536)]
TokenCount = Annotated[int, Field(ge=1, le=131072)]
BackendOptions = dict[Key, JsonValue]
Tasks = Annotated[
    list[Key],
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(without_repeats),
]
