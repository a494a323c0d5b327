"""What all sections share: closed, frozen, with a tag that may be left out."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


def tagged(key: str, default: str) -> BeforeValidator:
    """Let a section be given without the key that says which kind it is, when it is of the default kind."""
    return BeforeValidator(lambda value: {key: default, **value} if isinstance(value, dict) else value)


class Section(BaseModel):
    """A part of the config; keys it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
