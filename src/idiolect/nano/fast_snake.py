"""The vocoder's anti-aliased snake at ten times the speed, for training on a CPU.

The snake runs at twice the rate, between two filters of 12 taps: as separate operations that is
most of a step of training, and the least of its arithmetic. ``fast_snake.c`` does all of it in one
pass, and so its gradient. A C compiler builds it at its first use; without one, training takes the
plain modules: the same numbers, later.

``B`` is batch, ``C`` channels, ``N`` samples.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from idiolect.base.log import get_logger
from idiolect.models.vocoder import SNAKE_FLOOR, AntiAliasedSnake

SOURCE = Path(__file__).with_name("fast_snake.c")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = (
    *("-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp-simd"),
    # Not -ffast-math: it may regroup the two parts of pi, and changes the rounding of the process.
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
    *("-shared", "-fPIC"),
)
_POINTERS_FORWARD, _POINTERS_BACKWARD = 5, 8


def speed_up(network: nn.Module) -> bool:
    """Replace every anti-aliased snake in ``network`` by the fast one; False without a compiler.

    Names and values of the weights stay; the numbers differ by rounding.
    """
    if snake_library() is None:
        return False
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, AntiAliasedSnake):
                setattr(module, name, FastSnake(child))
    return True


class FastSnake(nn.Module):
    """An anti-aliased snake on a CPU; its weights are those of ``plain``, under the same names."""

    def __init__(self, plain: AntiAliasedSnake) -> None:
        super().__init__()
        self.act = plain.act
        self.upsample = plain.upsample
        self.downsample = plain.downsample

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C, N]`` for ``x`` ``[B, C, N]``; bfloat16 under autocast."""
        dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
        tensors = (x, self.act.alpha, self.act.beta, self.upsample.filter)
        y: Tensor = _Snake.apply(*tensors, dtype)  # type: ignore[no-untyped-call]  # as in torch
        return y


class _Snake(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, alpha: Tensor, beta: Tensor, taps: Tensor, dtype: torch.dtype
    ) -> Tensor:
        x, a, b = x.contiguous(), alpha.exp(), beta.exp()
        inverse_b = 1 / (b + SNAKE_FLOOR)
        y = torch.empty_like(x, dtype=dtype)
        tensors = (x, y, a, inverse_b, taps)
        _call("snake_forward", tensors, x.shape, x.dtype, y.dtype)
        ctx.save_for_backward(x, a, b, inverse_b, taps)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, a, b, inverse_b, taps = ctx.saved_tensors
        g = gradients[0].contiguous()
        gx, of_a, of_b = torch.empty_like(x), torch.zeros_like(a), torch.zeros_like(b)
        tensors = (x, g, gx, a, inverse_b, taps, of_a, of_b)
        _call("snake_backward", tensors, x.shape, x.dtype, g.dtype)
        return gx, of_a * a, -of_b * b * inverse_b.square(), None, None


def _call(
    name: str, tensors: tuple[Tensor, ...], shape: torch.Size, first: torch.dtype, last: torch.dtype
) -> None:
    library = snake_library()
    assert library is not None, "speed_up() makes no FastSnake without it"
    half = [dtype == torch.bfloat16 for dtype in (first, last)]
    pointers = [tensor.data_ptr() for tensor in tensors]
    if getattr(library, name)(*pointers, shape[0] * shape[1], shape[1], shape[2], *half):
        raise MemoryError(f"a snake of {shape[2]} samples")


@cache
def snake_library() -> ctypes.CDLL | None:
    """Return what the compiler of this machine makes of ``fast_snake.c``; None without one."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        get_logger().warning("no C compiler: the vocoder learns the same, but several times slower")
        return None
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "fast_snake.so")
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(built)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            get_logger().warning(f"{compiler} does not build {SOURCE.name}: {done.stderr.strip()}")
            return None
        library = ctypes.CDLL(str(built))
    for name, pointers in (
        ("snake_forward", _POINTERS_FORWARD),
        ("snake_backward", _POINTERS_BACKWARD),
    ):
        kinds = [ctypes.c_void_p] * pointers + [ctypes.c_long] * 3 + [ctypes.c_int] * 2
        getattr(library, name).argtypes = kinds
    return library
