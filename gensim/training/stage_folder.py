"""What one stage of training writes: checkpoints to go on from, a history, the weights that validated best."""

import json
from dataclasses import dataclass
from pathlib import Path

from gensim.atomic import atomic_path


@dataclass(frozen=True, slots=True)
class StageFolder:
    """Paths of a stage.

    Args:
        path: the run's folder, or one of the stage's own inside it.
        name: of the stage, for people and for the names of logged values.
    """

    path: Path
    name: str

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def history(self) -> Path:
        return self.path / "history.jsonl"

    def forget_history_after(self, step: int) -> None:
        """Drop lines of the history that a resumed stage will write again."""
        if self.history.is_file():
            kept = [line for line in self.history.read_text().splitlines() if _step(line) <= step]
            with atomic_path(self.history) as temporary:
                temporary.write_text("".join(line + "\n" for line in (kept if step > 0 else [])))


def _step(line: str) -> float:
    """Of a line of the history; a line that was cut off is later than any checkpoint."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
