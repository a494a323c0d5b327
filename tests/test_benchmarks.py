"""Every benchmark tells what it measures: its imports and its options hold."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
COMMANDS = sorted(p.stem for p in BENCHMARKS.glob("*.py") if "ArgumentParser(" in p.read_text())


def test_there_are_benchmarks():
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("name", COMMANDS)
def test_a_benchmark_tells_how_to_run_it(name, monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(name).main()
    assert end.value.code == 0
    assert f"usage: {name}.py" in capsys.readouterr().out
