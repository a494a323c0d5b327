"""What made a result: version, commit, libraries."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

LIBRARIES = ("torch", "torchdiffeq", "POT", "numpy", "scipy", "anndata", "scanpy", "zarr", "accelerate")

CODE = ("*.py", "*.yaml", "pyproject.toml")


def version() -> str:
    return metadata.version("gensim-cells")


def commit() -> str | None:
    """Commit of the checkout that holds the package, ``+changes`` if code or configs differ; None outside one."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", *CODE)
        return head + ("+changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def software() -> dict[str, str | None]:
    """Version and commit of gensim, and versions of Python and of the libraries that results depend on."""
    libraries = {name: metadata.version(name) for name in LIBRARIES}
    return {"gensim": version(), "commit": commit(), "python": platform.python_version(), **libraries}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()
