"""``idiolect webui``: serve the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from idiolect.base.errors import ConfigError, UserError
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.base.places import ModelPlace
from idiolect.cli.surface import run_command

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WebuiConfig(ModelPlace):
    """Where the models are and where the page listens."""

    output_dir: Path = Path("outputs")
    """Folder for what was spoken."""
    host: str = "127.0.0.1"
    """Address to listen on; others than this machine's own can hear it only when changed."""
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
        if self.auth is not None and not all(self.auth.partition(":")):
            raise ConfigError(
                "not USER:PASSWORD",
                where="--auth",
                fix="give both: --auth marta:secret",
            )


def main(argv: Sequence[str] | None = None, prog: str = "idiolect webui") -> int:
    """Run the command; return its exit code."""
    return run_command(
        WebuiConfig, _serve, argv, prog=prog, description="Serve the page: load a model and speak."
    )


def _serve(config: WebuiConfig) -> None:
    check_output(config.output_dir)
    if config.host not in LOCAL_HOSTS and config.auth is None:
        get_logger().warning(
            "the page listens on %s without a password: anybody who reaches this machine can use "
            "it; --auth USER:PASSWORD asks for one",
            config.host,
        )
    if find_spec("gradio") is None:
        raise UserError("the page needs gradio", fix="pip install 'idiolect[webui]'")
    from idiolect.webui.app import serve
    from idiolect.webui.desk import PageSettings

    serve(
        PageSettings(
            model_dir=config.model_dir,
            base=config.base,
            aux_dir=config.aux_dir,
            output_dir=config.output_dir,
            device=config.device,
        ),
        host=config.host,
        port=config.port,
        auth=config.auth,
    )
