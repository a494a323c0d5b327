"""Outputs that cannot be written, disks that fill up, and preparations that were killed."""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import content, trained_and_sampled

from gensim import jobs, store
from gensim.cli import main
from gensim.errors import ConfigError
from gensim.solvers.ode import METHODS, TorchDiffEq
from gensim.training import checkpoint, loop, prepare
from gensim.types import Dynamics

COMMANDS = ("train", "sample", "evaluate", "simulate-screen")


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return trained_and_sampled(tmp_path_factory.mktemp("work"))


def command(name: str, work: Path, folder: Path) -> list[str]:
    """A command with its output in `folder`."""
    run, cells = str(work / "run"), str(work / "cells.zarr")
    rest = {
        "train": ["--config", str(work / "config.yaml"), "--device", "cpu", f"run={folder / 'run'}"],
        "sample": ["--run", run, "--out", str(folder / "x.zarr"), "--device", "cpu"],
        "evaluate": [cells, "--run", run, "--out", str(folder / "report")],
        "simulate-screen": [
            "--out", str(folder / "x.h5ad"), "--cells", "500", "--genes", "20", "--combinations", "1",
        ],
    }[name]  # fmt: skip
    return [name, *rest]


def last_line(capsys) -> str:
    """The error, which stands behind what the command had to say before."""
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.count("gensim: error: ") == 1
    return err.strip().splitlines()[-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_below_a_file(work, tmp_path, capsys, name):
    (tmp_path / "file").write_text("x")
    assert main(command(name, work, tmp_path / "file")) == 2
    assert str(tmp_path / "file") in last_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_is_read_only(work, tmp_path, capsys, name):
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write everywhere")
    assert main(command(name, work, tmp_path)) == 2
    assert "permission" in last_line(capsys).lower()
    tmp_path.chmod(0o755)
    assert list(tmp_path.iterdir()) == []


def disk_full(*arguments, **named):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["train", "sample", "simulate-screen"])
def test_a_disk_without_room_is_seen_before_hdf5_crashes_on_it(work, tmp_path, capsys, monkeypatch, name):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1000, 900, 100))
    assert main(command(name, work, tmp_path)) == 2
    assert re.search(r"cannot write .*: it needs 0\.\d MB and 0\.0 MB are free; free space", last_line(capsys))
    assert not any(path.suffix == ".h5ad" for path in tmp_path.rglob("*"))
    monkeypatch.undo()
    assert main(command(name, work, tmp_path)) == 0


def test_a_store_that_cannot_be_laid_out_leaves_nothing(work, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(store, "_write_strings", disk_full)
    assert main(command("sample", work, tmp_path)) == 2
    assert "x.zarr.partial': No space left on device; free space" in last_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_cells_are_written(work, tmp_path, capsys, monkeypatch):
    """What was laid out stays, so that the same command goes on."""
    monkeypatch.setattr(store, "flush", disk_full)
    assert main(command("sample", work, tmp_path)) == 2
    assert "No space left on device; free space and run again, finished chunks are kept" in last_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr.partial"]
    monkeypatch.undo()
    assert main(command("sample", work, tmp_path)) == 0
    made, whole = (content(folder) for folder in (tmp_path / "x.zarr", work / "cells.zarr"))
    chunks = [name for name in whole if "/X/c/" in name and whole[name]]
    assert chunks
    for name in chunks:
        assert made[name.replace(str(work / "cells.zarr"), str(tmp_path / "x.zarr"))] == whole[name]


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (prepare, "write_split"),
        (prepare, "save_weights"),
        (checkpoint, "save_file"),
        (jobs, "write_json"),
        (loop.Trainer, "_log"),
    ],
)
def test_a_disk_that_fills_up_while_training(work, tmp_path, capsys, monkeypatch, module, function):
    monkeypatch.setattr(module, function, disk_full)
    assert main(command("train", work, tmp_path)) == 2
    assert "No space left on device; check space and permissions" in last_line(capsys)
    monkeypatch.undo()
    assert not list((tmp_path / "run").rglob(".*.tmp*"))
    assert main(command("train", work, tmp_path)) == 0
    assert (tmp_path / "run" / "best.safetensors").read_bytes() == (work / "run" / "best.safetensors").read_bytes()


def killed(*arguments, **named):
    raise KeyboardInterrupt


@pytest.mark.parametrize("function", ["write_split", "write_held_out", "encode_cells"])
def test_a_preparation_that_was_cut_off_is_done_again_by_the_same_command(
    work, tmp_path, capsys, monkeypatch, function
):
    run = tmp_path / "run"
    monkeypatch.setattr(prepare, function, killed)
    assert main(command("train", work, tmp_path)) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
    monkeypatch.undo()
    assert (run / "config.yaml").is_file()
    assert not (run / "prepared").exists()
    # What a kill without warning leaves besides.
    (run / ".prepared.123.tmp").mkdir()
    (run / ".prepared.123.tmp" / "latents.npy").write_bytes(b"half")
    assert main(command("train", work, tmp_path)) == 0
    assert (run / "best.safetensors").read_bytes() == (work / "run" / "best.safetensors").read_bytes()
    assert not list(run.glob(".*"))


def test_killed_before_the_config_was_written(work, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare.RunFolder, "write_config", killed)
    assert main(command("train", work, tmp_path)) == 130
    monkeypatch.undo()
    assert main(command("train", work, tmp_path)) == 0


def run_script(*arguments: str) -> subprocess.CompletedProcess:
    root = Path(__file__).resolve().parent.parent
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=root, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.py"], "the following arguments are required: --config"),
        (["sample.py"], "the following arguments are required: --run, --out"),
        (
            ["-c", "from gensim.cli import main; main()"],
            "{train,sample,evaluate,compare-predictions,metrics,export,embed,simulate-screen}",
        ),
    ],
)
def test_commands_without_arguments_say_what_is_needed(arguments, message):
    done = run_script(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "usage: gensim" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_torchdiffeq_that_is_named_works(method):
    """dz = -z dt from 1: exp(-1) at t = 1, within the error of Euler in 100 steps (half a step times the slope)."""
    z = TorchDiffEq(method, 1e-5, 100).solve(
        Dynamics(lambda t, z: -z), torch.ones(2, 1), noise=lambda step: torch.zeros(2, 1)
    )
    np.testing.assert_allclose(z.numpy(), np.exp(-1), atol=2e-3)


def test_a_tolerance_that_cannot_be_reached_says_so():
    with pytest.raises(ConfigError, match=r"cannot reach solver.tolerance=1e-30.*raise the tolerance"):
        TorchDiffEq("dopri5", 1e-30, 10).solve(
            Dynamics(lambda t, z: torch.sin(50 * z)), torch.ones(2, 1), noise=lambda step: torch.zeros(2, 1)
        )
