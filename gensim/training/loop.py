"""The training loop, whole and visible."""

import json
import logging
import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from gensim.config import TrainingConfig
from gensim.data.pairs import PairSampler
from gensim.errors import ConfigError, TrainingError
from gensim.seeding import torch_generator
from gensim.training.checkpoint import Progress, load_checkpoint, save_checkpoint, save_weights
from gensim.training.ema import ExponentialMovingAverage
from gensim.training.progress_bar import progress_bar
from gensim.training.run_folder import CellIndex
from gensim.training.schedule import learning_rate_at
from gensim.training.stage_folder import StageFolder
from gensim.training.validation import Validation
from gensim.transport.base import Draws, Transport
from gensim.types import PairBatch

log = logging.getLogger("gensim")


@dataclass(frozen=True, slots=True)
class Trainer:
    """Fits a transport to coupled cells and keeps the weights (averaged) that validate best.

    Every random draw follows from (seed, step, slot), a slot being one group of a step. Processes share out the slots,
    so their number changes nothing but the order of float sums, and a resumed run repeats the unbroken one.
    """

    transport: Transport
    sampler: PairSampler
    validation: Validation
    cells: CellIndex
    config: TrainingConfig
    seed: int
    folder: StageFolder
    accelerator: Accelerator

    def fit(self) -> dict[str, Any]:
        """Train from the newest checkpoint, or from the start, until `max_cells` or until validation stops gaining.

        Returns:
            What is worth knowing of the training, for a JSON file; the same again where it has ended before.

        Raises:
            ConfigError: the groups of a step cannot be shared out evenly.
            TrainingError: the loss is not finite (names step, condition and largest gradient).
        """
        config, accelerator = self.config, self.accelerator
        slots = self._slots()
        cells_per_step = config.groups_per_step * config.cells_per_group
        last_step = math.ceil(config.max_cells / cells_per_step)
        steps_per_validation = math.ceil(config.cells_per_validation / cells_per_step)

        # One copy of the weights here, the running average beside it, both back where a checkpoint left them.
        model = self.transport.to(accelerator.device)
        optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        average = ExponentialMovingAverage(model, config.ema_half_life_cells)
        progress = load_checkpoint(self.folder.checkpoints, model, average, optimiser)
        if accelerator.is_main_process:
            self.folder.forget_history_after(progress.step)
        parallel, optimiser = accelerator.prepare(model, optimiser)
        if progress.step == 0:
            progress = self._validate(average, progress)

        began = time.perf_counter() - progress.seconds
        with progress_bar(accelerator.is_main_process) as bar:
            task = bar.add_task(
                self.folder.name,
                total=last_step * cells_per_step,
                completed=progress.step * cells_per_step,
                loss="",
            )
            while progress.step < last_step and progress.validations_since_best < config.patience_validations:
                # The pairs and the draws of this step that belong to this process.
                pairs = self.sampler.batch(progress.step, slots)
                draws = self._draws(progress.step, slots)

                # Schedules count cells, not steps or processes.
                cells_seen = progress.step * cells_per_step
                rate = learning_rate_at(
                    cells_seen, peak=config.learning_rate, warmup_cells=config.warmup_cells, max_cells=config.max_cells
                )
                for group in optimiser.param_groups:
                    group["lr"] = rate

                # Gradient, averaged over the processes.
                optimiser.zero_grad()
                loss = parallel(self._hide_labels(pairs, progress.step, slots), draws)
                accelerator.backward(loss)
                norm = accelerator.clip_grad_norm_(model.parameters(), config.max_gradient_norm)
                loss_value, norm_value = float(loss.detach()), float(norm)
                if not math.isfinite(loss_value) or not math.isfinite(norm_value):
                    raise self._not_finite(pairs, draws, progress.step)
                optimiser.step()
                average.update(model, cells_seen + cells_per_step, cells_per_step)

                # Book-keeping, validation, checkpoint.
                progress = replace(progress, step=progress.step + 1, seconds=time.perf_counter() - began)
                bar.update(task, advance=cells_per_step, loss=f"{loss_value:.4f}")
                if progress.step % steps_per_validation == 0 or progress.step == last_step:
                    loss_value = float(accelerator.reduce(loss.detach(), reduction="mean"))
                    self._log(progress.step, {"loss": loss_value, "gradient_norm": norm_value, "learning_rate": rate})
                    progress = self._validate(average, progress)
                    if accelerator.is_main_process:
                        save_checkpoint(self.folder.checkpoints, model, average, optimiser.optimizer, progress)
        return self._summary(progress, cells_per_step)

    def _slots(self) -> range:
        """The slots of every step that belong to this process."""
        total, processes = self.config.groups_per_step, self.accelerator.num_processes
        if total % processes:
            raise ConfigError(
                f"training.groups_per_step is {total}, which {processes} processes cannot share evenly; "
                f"use a multiple of {processes}"
            )
        share = total // processes
        return range(self.accelerator.process_index * share, (self.accelerator.process_index + 1) * share)

    def _draws(self, step: int, slots: range) -> Draws:
        n, n_latents = self.config.cells_per_group, self.sampler.latents.shape[1]
        generators = [torch_generator(self.seed, "draws", step, slot) for slot in slots]
        t = torch.cat([torch.rand(n, generator=generator) for generator in generators])
        eps, path = (
            torch.cat([torch.randn(n, n_latents, generator=generator) for generator in generators]) for _ in range(2)
        )
        device = self.accelerator.device
        return Draws(t.to(device), eps.to(device), path.to(device))

    def _hide_labels(self, pairs: PairBatch, step: int, slots: range) -> PairBatch:
        """Hide the context of a share of the pairs, the batch of a share, and of a share all that is known of it."""
        n = self.config.cells_per_group

        def draws(stream: str, columns: int) -> torch.Tensor:
            generators = [torch_generator(self.seed, stream, step, slot) for slot in slots]
            drawn = torch.cat([torch.rand(n, columns, generator=generator) for generator in generators])
            return drawn.to(pairs.z_1.device)

        shown = draws("hidden labels", 2) >= self.config.label_dropout
        condition = pairs.condition
        condition = condition.from_elsewhere(~shown[:, 0]).with_batch(condition.batch * shown[:, 1])
        hidden = draws("hidden conditions", 1)[:, 0] < self.config.condition_dropout
        return replace(pairs, condition=condition.hidden(hidden))

    def _validate(self, average: ExponentialMovingAverage[Transport], progress: Progress) -> Progress:
        """Score the averaged weights; keep them if they are the best so far."""
        accelerator = self.accelerator
        part = slice(accelerator.process_index, None, accelerator.num_processes)
        found = torch.from_numpy(self.validation.distances(average.module, part))
        found = accelerator.reduce(found.to(accelerator.device, _sum_type(accelerator.device)), reduction="sum")
        distances = found.tolist()
        distance = float(np.mean(distances))
        if not math.isfinite(distance):
            raise TrainingError(
                f"the validation distance is {distance} at step {progress.step}; lower the learning rate"
            )
        judged = progress.judged(distances, surely=self.validation.of_new)
        if accelerator.is_main_process and judged.best_step == judged.step:
            save_weights(self.folder.best, average.module, {"step": str(judged.step)})
        self._log(progress.step, {"validation_energy_distance": distance})
        return judged

    def _log(self, step: int, values: dict[str, float]) -> None:
        self.accelerator.log({f"{self.folder.name}/{name}": value for name, value in values.items()}, step=step)
        if self.accelerator.is_main_process:
            with self.folder.history.open("a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")

    def _not_finite(self, pairs: PairBatch, draws: Draws, step: int) -> TrainingError:
        """The error for a loss or gradient that is not finite: which condition, how large the gradients."""
        n = self.config.cells_per_group
        culprit = "all conditions together"
        with torch.no_grad():
            for start in range(0, len(pairs), n):
                rows = slice(start, start + n)
                if not torch.isfinite(self.transport.loss(pairs[rows], draws[rows])):
                    condition = self.cells.conditions[self.cells.condition_of[int(pairs.target[start])]]
                    culprit = f"condition {condition.label!r}"
                    break
        largest = max(float(p.grad.abs().max()) for p in self.transport.parameters() if p.grad is not None)
        return TrainingError(
            f"the loss is not finite at step {step} in {culprit}; the largest gradient is {largest:.3g}. "
            "Lower training.learning_rate, or look for extreme cells in that condition"
        )

    def _summary(self, progress: Progress, cells_per_step: int) -> dict[str, Any]:
        no_change = self.validation.no_change_distance()
        stopped_early = progress.validations_since_best >= self.config.patience_validations
        stopped = "validation stopped gaining" if stopped_early else "max_cells reached"
        log.info(
            "%s: %d steps (%s); best at step %d: validation energy distance %.4f, no change %.4f",
            self.folder.name, progress.step, stopped, progress.best_step, progress.best_distance, no_change,
        )  # fmt: skip
        return {
            **asdict(progress),
            "cells_seen": progress.step * cells_per_step,
            "stopped": stopped,
            "no_change_distance": no_change,
            "n_validation_conditions": len(self.validation.tasks),
            "n_processes": self.accelerator.num_processes,
            "device": str(self.accelerator.device),
        }


def _sum_type(device: torch.device) -> torch.dtype:
    """float64 where the device has it; Apple's does not."""
    return torch.float32 if device.type == "mps" else torch.float64
