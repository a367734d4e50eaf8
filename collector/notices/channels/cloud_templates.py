"""Texts that lie with an SMS provider: which of them a notice uses, and what its variables are."""

from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from collector.notices.messages import Message
from collector.notices.texts import ANY, SAYS_HOW_TO_OBJECT, TemplateError, field_names, fill
from protocol.documents import Section


class Variable(Section):
    """One variable of a provider's template."""

    name: str = Field(default="", description="as the provider's template calls it; Tencent goes by the order alone")
    value: str = Field(description="text with fields, such as {minutes}")


class CloudTemplate(Section):
    """A text that the provider has approved, for one kind of notice."""

    kind: str = ANY
    language: str = "zh"
    code: str = Field(min_length=1, description="the provider's id of the template")
    variable: tuple[Variable, ...] = ()
    says_how_to_object: bool = Field(
        default=False, description="confirm that the text itself says how to object, where no variable has the link"
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names: list[str] = []
        for one in self.variable:
            try:
                names += field_names(one.value)
            except TemplateError as fault:
                raise ValueError(f"template {self.code}, variable {one.name or one.value}: {fault}") from None
        if not self.says_how_to_object and not set(names) & set(SAYS_HOW_TO_OBJECT):
            raise ValueError(
                f"template {self.code}: a notice to a shop says how to object: give a variable {{token}}, {{link}} or "
                "{objection}, or confirm with says_how_to_object = true that the approved text does"
            )
        return self


def choose(templates: Sequence[CloudTemplate], message: Message) -> CloudTemplate | None:
    """The template for a message; the nearest first."""
    for kind, language in (
        (message.kind, message.language),
        (message.kind, "zh"),
        (ANY, message.language),
        (ANY, "zh"),
    ):
        for one in templates:
            if (one.kind, one.language) == (kind, language):
                return one
    return None


def variables(template: CloudTemplate, message: Message) -> list[tuple[str, str]]:
    """Names and values of the variables."""
    return [(one.name, fill(one.value, message.values)) for one in template.variable]


def shown(templates: Sequence[CloudTemplate], message: Message) -> str:
    """What is sent, for the record: the text itself lies with the provider."""
    template = choose(templates, message)
    if template is None:
        return ""
    return f"{template.code} " + ", ".join(
        f"{name}={value}" if name else value for name, value in variables(template, message)
    )
