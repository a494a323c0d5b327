"""From YAML and overrides to a config."""

import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ValidationError

from gensim.config.data import DataConfig
from gensim.config.run import Config
from gensim.errors import ConfigError, nearest


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML config, apply ``dotted.key=value`` overrides (values in YAML), and check it.

    Raises:
        ConfigError: no such file, not YAML, an unknown key (the nearest known one is named), or a bad value.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"config {str(path)!r} is not a file; the shipped ones are in configs/")
    try:
        raw = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {str(path)!r} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"config {str(path)!r} holds {type(raw).__name__}; a mapping of sections is needed")
    for override in overrides:
        _apply_override(raw, override)
    return parse_config(raw, str(path))


def parse_config(raw: dict[str, Any], where: str) -> Config:
    """Check a nested mapping; `where` is named in the errors."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"config {where!r}: " + "; ".join(_explain(e) for e in error.errors())) from None


def data_config(overrides: Sequence[str], path: str) -> DataConfig:
    """What files without a run hold, from ``data.key=value`` overrides.

    Raises:
        ConfigError: an override of something else, no ``data.scale``, or a bad value.
    """
    raw: dict[str, Any] = {"run": path, "data": {"path": path}}
    for override in overrides:
        if not override.startswith("data."):
            raise ConfigError(f"override {override!r} is not of data; without a run only data.key=value has a meaning")
        if override.partition("=")[0] in ("data.path", "data.layer", "data.n_highly_variable_genes"):
            raise ConfigError(
                f"override {override!r} has no meaning without a run: X of every file that is named is read"
            )
        _apply_override(raw, override)
    return parse_config(raw, "data").data


SAMPLING_KEYS = (
    "solver", "guidance", "gate", "cells", "transport.stochastic", "transport.strength", "autoencoder.noise",
    "autoencoder.library_size",
)  # fmt: skip
"""What may differ between training and sampling, since no weight depends on it."""


def for_sampling(config: Config, overrides: Sequence[str], where: str) -> Config:
    """A run's config with ``dotted.key=value`` overrides of what belongs to sampling.

    Raises:
        ConfigError: an override of something that was trained, or a bad value.
    """
    raw = config.model_dump(mode="json")
    if {override.partition("=")[0] for override in overrides} & {
        "solver.kind",
        "solver.method",
        "transport.stochastic",
    }:
        del raw["solver"]["n_steps"]  # what suits the new kind, unless it is named
    for override in overrides:
        dotted = override.partition("=")[0]
        if not any(dotted == key or dotted.startswith(f"{key}.") for key in SAMPLING_KEYS):
            raise ConfigError(
                f"override {override!r} is not of sampling; the run {where!r} was trained with another value. "
                f"Sampling takes {', '.join(SAMPLING_KEYS)}"
            )
        _apply_override(raw, override)
    return parse_config(raw, where) if overrides else config


def _apply_override(raw: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"override {override!r} is not of the form section.key=value, e.g. training.max_cells=50000")
    *sections, last = dotted.split(".")
    node = raw
    for name in sections:
        child = node.setdefault(name, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {override!r}: {name!r} holds the value {child!r}, not a section")
        node = child
    try:
        node[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: the value is not YAML: {error}") from error


def _explain(error: Any) -> str:
    """One pydantic error as `key: what came, what was wanted`, with the nearest known key for an unknown one."""
    place = [str(part) for part in error["loc"]]
    dotted = ".".join(_written(Config, place)) or "config"
    if error["type"] == "extra_forbidden":
        known = _known_keys(Config, place[:-1])
        return f"unknown key {dotted!r}{nearest(place[-1], known)}; known here: {', '.join(sorted(known))}"
    if error["type"] == "missing":
        choices = _literals_at(Config, place)
        return f"{dotted!r} is needed and missing" + (f"; write {dotted}={' or '.join(choices)}" if choices else "")
    came = "" if error["type"] == "value_error" else f" (got {error['input']!r})"
    return f"{dotted}: {error['msg'].removeprefix('Value error, ')}{came}"


def _written(model: type[BaseModel], place: Sequence[str]) -> list[str]:
    """`place` as people write it: without the tag that pydantic's path names a union's member by."""
    last = len(place) - 1
    return [
        part for i, part in enumerate(place) if i == last or part.isdigit() or part in _known_keys(model, place[:i])
    ]


def _known_keys(model: type[BaseModel], place: Sequence[str]) -> set[str]:
    """Keys allowed at `place`; a union's member is named by its tag in pydantic's path."""
    candidates = [model]
    for part in place:
        inner = [m for c in candidates if part in c.model_fields for m in _models(c.model_fields[part].annotation)]
        tagged = [c for c in candidates if any(part in _literals(f.annotation) for f in c.model_fields.values())]
        candidates = inner or tagged or candidates
    return {key for candidate in candidates for key in candidate.model_fields}


def _literals_at(model: type[BaseModel], place: Sequence[str]) -> list[str]:
    """Values allowed at `place`; empty where they cannot be listed."""
    for part in place[:-1]:
        inner = _models(model.model_fields[part].annotation) if part in model.model_fields else []
        if len(inner) != 1:
            return []
        model = inner[0]
    field = model.model_fields.get(place[-1])
    return [] if field is None else [str(value) for value in _literals(field.annotation)]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [m for arg in typing.get_args(annotation) for m in _models(arg)]
    return []


def _literals(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
