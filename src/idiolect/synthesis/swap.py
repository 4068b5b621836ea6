"""Models swapped while others speak: one frozen stack a device, GPTs and tokenizers in and out.

A request names its model and gets that one, whatever others load meanwhile. It speaks to its end
with the weights it began with: whoever drops a model takes it off the shelf only, and its memory
comes free with the last request that holds it.

Two locks, always taken in this order: ``_loading`` (long; one load at a time, so that two who want
one model load it once) and ``_changed`` (short; what is on the shelf). Computing takes neither; it
takes turns of the device, in :mod:`idiolect.synthesis.speaking`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Lock, get_ident
from typing import Final
from weakref import WeakSet

import torch

from idiolect.base.errors import SynthesisError, UserError
from idiolect.base.log import get_logger
from idiolect.base.units import format_bytes
from idiolect.models.memory import gpt_bytes, request_bytes, stack_bytes
from idiolect.models.published import BaseFiles
from idiolect.registry.entry import entry_path
from idiolect.registry.store import ModelFiles, find_model
from idiolect.registry.weights import outline_of
from idiolect.synthesis.devices import choose_device, device_free_bytes, return_memory
from idiolect.synthesis.model import (
    LoadedModel,
    Stamp,
    Version,
    load_model,
    stamp_of,
    version_of,
)
from idiolect.synthesis.peak import PeakMeter
from idiolect.synthesis.shelf_status import ModelStatus, SlotStatus, stack_status
from idiolect.synthesis.stack import FrozenStack
from idiolect.synthesis.voice import Voice

ROOM_WAIT_SEC: Final = 600.0
"""How long a load waits for requests that fill the memory to end."""
ROOM_LOOK_SEC: Final = 1.0
"""How often it looks meanwhile: others than this program may free memory, too."""

Key = tuple[torch.device, Version]


@dataclass(slots=True, kw_only=True, eq=False)
class _Seat:
    """A model on the shelf; changed under ``_changed`` only."""

    key: Key
    found: ModelFiles
    model: LoadedModel
    stack: FrozenStack
    since_sec: float
    load_sec: float
    asked: int = 0
    """When it was asked for last, counted in requests."""
    times_leased: int = 0
    holders: list[int] = field(default_factory=list)
    """Threads that it is lent to."""
    voices: WeakSet[Voice] = field(default_factory=WeakSet)
    """Opened without a lease."""


class ModelSlot:
    """Models in memory, lent by name.

    Args:
        files: The base.
        models_dir: Where installed models are.
        keep_loaded: Models that stay though nobody leases them; those asked for last.
        half: Run GPTs in half precision where there is a GPU.
        free_bytes: Tells how much memory a device has left.
        room_wait_sec: How long a load waits for requests that fill the memory to end.
    """

    def __init__(
        self,
        files: BaseFiles,
        models_dir: Path,
        *,
        keep_loaded: int = 1,
        half: bool = False,
        free_bytes: Callable[[torch.device], int] = device_free_bytes,
        room_wait_sec: float = ROOM_WAIT_SEC,
    ) -> None:
        self.files = files
        self.models_dir = models_dir
        self.keep_loaded = max(1, keep_loaded)
        self.half = half
        self._free_bytes = free_bytes
        self._room_wait_sec = room_wait_sec
        self._loading = Lock()
        self._changed = Condition()
        self._seats: dict[Key, _Seat] = {}
        self._stacks: dict[torch.device, FrozenStack] = {}
        self._found: dict[str, tuple[tuple[Stamp, ...], ModelFiles]] = {}
        self._asked = 0
        self._waits_for_room = False
        self._peaks = PeakMeter(models_dir)

    def load(self, name: str, device: str | torch.device | None) -> LoadedModel:
        """Load ``name`` onto ``device``, or find it there; the former ones stay if that fails.

        Whoever keeps what is returned keeps its memory, too.

        Raises:
            RegistryError: ``name`` is not installed.
            CheckpointError: Its files are damaged or do not belong together.
            TokenizerError: Its tokenizer belongs to another model.
            SynthesisError: The device cannot be used, or has no room.
        """
        return self.open_voice(name, device).model

    def open_voice(self, name: str, device: str | torch.device | None) -> Voice:
        """Return a voice that lasts as long as its holder likes; raises as :meth:`load`.

        It ends early only where memory has room for one model and another is loaded.
        """
        seat = self._take(name, choose_device(device), lease=False)
        voice = self._voice_of(seat)
        with self._changed:
            seat.voices.add(voice)
        return voice

    @contextmanager
    def leased(self, name: str, device: str | torch.device | None) -> Iterator[Voice]:
        """Lend ``name`` on ``device``, loaded if it is not; raises as :meth:`load`.

        Waits while the memory is full of models that speak. A thread leases one model at a time:
        it would wait for itself.
        """
        seat = self._take(name, choose_device(device), lease=True)
        voice = self._voice_of(seat)
        try:
            with self._peaks.measuring(seat.model.name, seat.key[0], is_alone=self._is_alone(seat)):
                yield voice
        finally:
            voice.end()
            device, is_gone = seat.key[0], self._give_back(seat)
            del seat
            if is_gone:
                return_memory(device)

    def unload(self, name: str | None = None) -> None:
        """Free the model ``name`` wherever it is loaded; all, and the frozen networks, for None.

        Requests that are begun end first; what they hold is freed then.
        """
        with self._loading:
            for device in self._drop_named(name):
                return_memory(device)

    def status(self) -> SlotStatus:
        """Return what is loaded where."""
        with self._changed:
            seats = sorted(self._seats.values(), key=lambda seat: -seat.asked)
            stacks = list(self._stacks.values())
            return SlotStatus(
                models=tuple(map(_model_status, seats)), stacks=tuple(map(stack_status, stacks))
            )

    # --- what is on the shelf ---------------------------------------------------------------------

    def _take(self, name: str, device: torch.device, *, lease: bool) -> _Seat:
        """Return the seat of ``name``, loaded if it was not."""
        found = self._find(name)
        key = (device, version_of(found))
        with self._changed:
            # While a load waits for room, those who come later do not take it away.
            if not self._waits_for_room and key in self._seats:
                return self._occupy(self._seats[key], lease=lease)
        with self._loading:
            with self._changed:
                if key in self._seats:
                    return self._occupy(self._seats[key], lease=lease)
            self._load(found, key)
            with self._changed:
                seat = self._occupy(self._seats[key], lease=lease)
                is_full = self._trim()
            if is_full:
                return_memory(device)
            return seat

    def _occupy(self, seat: _Seat, *, lease: bool) -> _Seat:
        self._asked += 1
        seat.asked = self._asked
        if lease:
            seat.times_leased += 1
            seat.holders.append(get_ident())
            self._peaks.disturb()
        return seat

    def _is_alone(self, seat: _Seat) -> bool:
        """Tell whether no other model is on the device, and no other request is served there."""
        with self._changed:
            there = [other for other in self._seats.values() if other.key[0] == seat.key[0]]
            return there == [seat] and len(seat.holders) == 1

    def _give_back(self, seat: _Seat) -> bool:
        """End a lease; return whether memory may have come free."""
        with self._changed:
            ident = get_ident()
            # A stream may be ended by another thread than began it.
            seat.holders.remove(ident if ident in seat.holders else seat.holders[0])
            was_dropped = self._seats.get(seat.key) is not seat
            is_trimmed = self._trim()
            self._changed.notify_all()
            return is_trimmed or (was_dropped and not seat.holders)

    def _trim(self) -> bool:
        """Drop the idle models that were asked for longest ago; return whether any was."""
        idle = self._idle()
        surplus = idle[: max(0, len(idle) - self.keep_loaded)]
        for seat in surplus:
            self._drop(seat)
        in_use = {key[0] for key in self._seats}
        for device in set(self._stacks) - in_use if in_use else ():
            del self._stacks[device]
        return bool(surplus)

    def _idle(self, device: torch.device | None = None) -> list[_Seat]:
        """Return the seats that nobody leases, the one asked for longest ago first."""
        seats = [seat for seat in self._seats.values() if not seat.holders]
        if device is not None:
            seats = [seat for seat in seats if seat.key[0] == device]
        return sorted(seats, key=lambda seat: seat.asked)

    def _drop(self, seat: _Seat) -> None:
        self._peaks.disturb()
        del self._seats[seat.key]

    def _drop_named(self, name: str | None) -> set[torch.device]:
        """Take ``name``, or everything, off the shelf; return where that was."""
        with self._changed:
            gone = [seat for seat in self._seats.values() if name in {None, seat.model.name}]
            devices = {seat.key[0] for seat in gone}
            for seat in gone:
                self._drop(seat)
            if name is None:
                devices |= set(self._stacks)
                self._stacks.clear()
            return devices

    def _drop_idlest(self, device: torch.device) -> ModelFiles | None:
        """Drop the model of ``device`` that nobody asked for longest; None when all are leased."""
        with self._changed:
            for seat in self._idle(device):
                self._drop(seat)
                for voice in list(seat.voices):
                    voice.end()
                return seat.found
        return None

    def _voice_of(self, seat: _Seat) -> Voice:
        generation = self.files.config.generation
        return Voice(model=seat.model, stack=seat.stack, generation=generation)

    # --- loading ----------------------------------------------------------------------------------

    def _find(self, name: str) -> ModelFiles:
        """Return the files of ``name``, looked up anew when one of them changed."""
        known = self._found.get(name)
        if known is not None and known[0] == self._stamps(known[1]):
            return known[1]
        found = find_model(name, self.models_dir, self.files)
        self._found[name] = (self._stamps(found), found)
        return found

    def _stamps(self, found: ModelFiles) -> tuple[Stamp, ...]:
        return (*version_of(found), stamp_of(entry_path(found.gpt.parent, found.name)))

    def _load(self, found: ModelFiles, key: Key) -> None:
        """Put ``found`` on the shelf; on failure what was dropped for it comes back."""
        device = key[0]
        dropped: list[ModelFiles] = []
        try:
            self._make_room(found, device, dropped)
            self._read(found, key)
        except BaseException:
            self._put_back(dropped, device)
            raise

    def _read(self, found: ModelFiles, key: Key) -> None:
        device, started = key[0], time.monotonic()
        try:
            stack = self._stacks.get(device) or FrozenStack.load(self.files, device)
            model = load_model(found, device, half=self.half and device.type == "cuda")
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise _no_room(found, device) from error
        seat = _Seat(
            key=key,
            found=found,
            model=model,
            stack=stack,
            since_sec=time.time(),
            load_sec=time.monotonic() - started,
        )
        with self._changed:
            self._stacks[device] = stack
            self._seats[key] = seat
            self._peaks.loaded(model.name, device)

    def _make_room(
        self, found: ModelFiles, device: torch.device, dropped: list[ModelFiles]
    ) -> None:
        """Wait until ``found`` fits on ``device``; drop idle models when it does not.

        Args:
            found: What will be loaded.
            device: Where.
            dropped: Gains what is dropped.

        Raises:
            SynthesisError: It does not fit beside what cannot be dropped.
        """
        needed = self._needed_bytes(found, device)
        deadline = time.monotonic() + self._room_wait_sec
        try:
            while (free := self._free_bytes(device)) < needed:
                if idlest := self._drop_idlest(device):
                    dropped.append(idlest)
                elif self._others_speak(device) and time.monotonic() < deadline:
                    self._wait_for_end_of_lease()
                else:
                    raise _no_room(found, device, needed=needed, free=free)
                return_memory(device)
        finally:
            self._waits_for_room = False

    def _others_speak(self, device: torch.device) -> bool:
        """Tell whether threads other than this one lease models of ``device``."""
        with self._changed:
            there = [seat for seat in self._seats.values() if seat.key[0] == device]
            return any(set(seat.holders) - {get_ident()} for seat in there)

    def _wait_for_end_of_lease(self) -> None:
        with self._changed:
            self._waits_for_room = True
            self._changed.wait(ROOM_LOOK_SEC)

    def _needed_bytes(self, found: ModelFiles, device: torch.device) -> int:
        weights = gpt_bytes(outline_of(found.gpt, bases=[self.files.gpt]))
        if self.half and device.type == "cuda":
            weights //= 2
        has_stack = device in self._stacks
        stack = 0 if has_stack else stack_bytes(self.files)
        return weights + stack + request_bytes(self.files)

    def _put_back(self, dropped: Sequence[ModelFiles], device: torch.device) -> None:
        for found in reversed(dropped):
            try:
                self._read(found, (device, version_of(found)))
            except UserError as error:
                get_logger().warning("%s cannot be put back: %s", found.name, error)


def _no_room(
    found: ModelFiles, device: torch.device, *, needed: int | None = None, free: int | None = None
) -> SynthesisError:
    sizes = ""
    if needed is not None and free is not None:
        sizes = f": it takes {format_bytes(needed)}, and {format_bytes(free)} are free"
    return SynthesisError(
        f"there is no room for {found.name} on {device}{sizes}",
        fix="unload other models, or end what else uses the memory",
    )


def _model_status(seat: _Seat) -> ModelStatus:
    model = seat.model
    return ModelStatus(
        name=model.name,
        device=str(seat.key[0]),
        num_bytes=model.num_bytes,
        tokenizer=model.tokenizer.path.name,
        vocab_size=model.tokenizer.vocab_size,
        leases=len(seat.holders),
        times_leased=seat.times_leased,
        since_sec=seat.since_sec,
        load_sec=seat.load_sec,
    )
