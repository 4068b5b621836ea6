"""Reports to trackers of experiments, by whatever Accelerate knows: wandb, mlflow and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import ProjectConfiguration

from idiolect.base.config import to_mapping
from idiolect.base.errors import ConfigError, did_you_mean
from idiolect.base.guard import check_output
from idiolect.base.log import LOGGER_NAME, get_logger
from idiolect.training.config import TrainConfig

TRACKERS_DIR = "trackers"
"""Below the folder of the run: what trackers that write files put there."""
PACKAGES = {"comet_ml": "comet-ml"}
"""What to install for a tracker whose package is not called as it is."""
ALL = "all"
"""Accelerate's word for every tracker that is installed; here, each is named."""


def tracker_settings(names: Sequence[str]) -> dict[str, Any]:
    """Return what :class:`accelerate.Accelerator` has to be given for trackers called ``names``.

    Raises:
        ConfigError: One is unknown, or its package is not installed.
    """
    if not names:
        return {}
    there = {str(name) for name in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS or name == ALL:
            raise ConfigError(
                f"no tracker is called {name!r}",
                where="--tracker",
                fix=did_you_mean(name, LOGGER_TYPE_TO_CLASS),
            )
        if name not in there:
            package = PACKAGES.get(name, name)
            raise ConfigError(
                f"the tracker {name} is not installed",
                where=f"--tracker {name}",
                fix=f"pip install {package}, or leave it out: metrics.jsonl has the same numbers",
            )
    project = ProjectConfiguration(logging_dir=TRACKERS_DIR)  # start_trackers says where it is
    return {"log_with": list(dict.fromkeys(names)), "project_config": project}


def start_trackers(
    accelerator: Accelerator, config: TrainConfig, folder: Path, *, name: str
) -> None:
    """Open a run at each tracker of ``accelerator``, with every setting.

    A run that goes on is another one there, of the same name.

    Args:
        accelerator: Made with what :func:`tracker_settings` returned.
        config: Of the run.
        folder: Of the run; what trackers write goes below it.
        name: What the run is called there.

    Raises:
        ConfigError: A tracker cannot be reached, or nobody is logged in.
        GuardError: ``folder`` lies in a base.
    """
    if not accelerator.log_with:
        return
    place = check_output(folder / TRACKERS_DIR)
    place.mkdir(parents=True, exist_ok=True)
    accelerator.project_configuration.logging_dir = str(place)
    own_names = {"wandb": {"name": name, "dir": str(place)}, "mlflow": {"run_name": name}}
    try:
        accelerator.init_trackers(LOGGER_NAME, config=_plain(config), init_kwargs=own_names)
    except Exception as error:  # each tracker has kinds of errors of its own
        raise ConfigError(
            f"a tracker did not start: {error}",
            where=f"--tracker {' '.join(config.tracker)}",
            fix="log in as its own guide says, set it to work offline, or leave it out",
        ) from error


def log_to(accelerator: Accelerator) -> Callable[[Mapping[str, float], int], None] | None:
    """Return what sends numbers of a step to the trackers of ``accelerator``; None without any.

    A tracker that fails on the way does not end the run: it is said once, and not asked again.
    """
    if not accelerator.log_with:
        return None
    works = True

    def send(numbers: Mapping[str, float], step: int) -> None:
        nonlocal works
        if not works:
            return
        try:
            accelerator.log(dict(numbers), step=step)
        except Exception as error:  # noqa: BLE001 -- each tracker has kinds of its own
            works = False
            get_logger().warning("a tracker failed, and gets no more reports: %s", error)

    return send


def _plain(config: TrainConfig) -> dict[str, bool | int | float | str]:
    """Return every setting as a value that all trackers take."""
    values = to_mapping(config)
    return {k: v if isinstance(v, bool | int | float) else _joined(v) for k, v in values.items()}


def _joined(value: object) -> str:
    if value is None:
        return ""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
