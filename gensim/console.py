"""What commands say, once however many processes run them."""

import os


def is_main_process() -> bool:
    """Whether this is the process that speaks; `accelerate launch` numbers them in RANK."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    if is_main_process():
        print(text, flush=True)  # noqa: T201
