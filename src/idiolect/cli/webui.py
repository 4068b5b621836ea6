"""``idiolect webui``: serve the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import tyro

from idiolect.base.errors import ConfigError, UserError
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.base.places import ModelPlace
from idiolect.cli.surface import run_command

LOCAL_HOST = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 -- only when it is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class WebuiConfig(ModelPlace):
    """Where the models are and where the page listens."""

    output_dir: Path = Path("outputs")
    """Folder for what was spoken."""
    voices_dir: Path = Path("voices")
    """Folder of the voices that are kept by name."""
    jobs_dir: Path = Path("jobs")
    """Folder of the jobs: their state and logs."""
    root: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Folder below which the page may name files: recordings, projects, runs; may be repeated. The
    working directory by default."""
    keep_loaded: int = 1
    """Models that stay in memory beside each other; a swap between them takes no time."""
    host: str = LOCAL_HOST
    """Address to listen on; others than this machine's own can hear it only when changed."""
    listen: bool = False
    """Listen on all addresses: the page can then be reached from other machines."""
    no_auth: bool = False
    """Let in whoever reaches the machine, where the page listens for others."""
    port: int = 7860
    """Port to listen on."""
    auth: str | None = None
    """USER:PASSWORD that the page asks for."""
    device: str | None = None
    """cpu, cuda:0 ...; the first GPU when there is one."""

    def __post_init__(self) -> None:
        """Find the base by its name; check the form of ``auth``.

        Raises:
            ConfigError: It is not USER:PASSWORD.
        """
        ModelPlace.__post_init__(self)
        if self.listen:
            object.__setattr__(self, "host", EVERYWHERE)
        if self.keep_loaded < 1:
            raise ConfigError("keep_loaded is below 1", where="--keep-loaded", fix="give 1 or more")
        if self.auth is not None and not all(self.auth.partition(":")):
            raise ConfigError(
                "not USER:PASSWORD",
                where="--auth",
                fix="give both: --auth marta:secret",
            )


def main(argv: Sequence[str] | None = None, prog: str = "idiolect webui") -> int:
    """Run the command; return its exit code."""
    return run_command(
        WebuiConfig,
        _serve,
        argv,
        prog=prog,
        description="Serve the page: speak, swap models, compare, prepare data, train and watch.",
    )


def _serve(config: WebuiConfig) -> None:
    for folder in (config.output_dir, config.voices_dir, config.jobs_dir):
        check_output(folder)
    if find_spec("gradio") is None:
        raise UserError("the page needs gradio", fix="pip install 'idiolect[webui]'")
    from idiolect.webui.app import serve
    from idiolect.webui.desk import PageSettings
    from idiolect.webui.door import LOCAL_HOSTS

    if config.host not in LOCAL_HOSTS and config.auth is None:
        _check_open(config)
    serve(
        PageSettings(
            model_dir=config.model_dir,
            base=config.base,
            aux_dir=config.aux_dir,
            output_dir=config.output_dir,
            device=config.device,
            voices_dir=config.voices_dir,
            jobs_dir=config.jobs_dir,
            roots=config.root or (Path(),),
            keep_loaded=config.keep_loaded,
        ),
        host=config.host,
        port=config.port,
        auth=config.auth,
    )


def _check_open(config: WebuiConfig) -> None:
    """Make sure that a page without a password for others is what the user wants."""
    if not config.no_auth:
        raise ConfigError(
            f"the page would be open to anybody who reaches {config.host}",
            where="--listen" if config.listen else "--host",
            fix="ask for a password with --auth USER:PASSWORD, or say --no-auth",
        )
    get_logger().warning(
        "the page listens on %s without a password: anybody who reaches this machine can use it",
        config.host,
    )
