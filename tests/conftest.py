"""Options and fixtures that all tests share."""

import os
from pathlib import Path

import pytest

from gensim.metrics import two_sample


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="device that tests of models run on")


@pytest.fixture(scope="session")
def device(request):
    return request.config.getoption("--device")


@pytest.fixture(autouse=True, scope="session")
def small_forests():
    """Most of an evaluation's time on a small screen; tests of the two-sample test itself grow whole ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_sample, "TREES", 3)
        yield


@pytest.fixture(scope="session")
def real_data():
    """Folder of the real screens: $GENSIM_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("GENSIM_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set GENSIM_DATA")
    return folder
