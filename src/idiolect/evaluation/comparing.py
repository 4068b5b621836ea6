"""Two models side by side: the same sentences, voice, seed and settings through one slot.

Which model speaks first changes from sentence to sentence, so that neither always gets the warmer
machine; and a model that was just loaded first speaks a word that counts for nothing.
Whatever is finished is on disk: the same order goes on where it was left.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Protocol
from weakref import WeakSet

import torch

from idiolect.audio.io import probe_audio, write_wav
from idiolect.base.config import to_mapping
from idiolect.base.errors import DataError, SynthesisError, UserError, summarize
from idiolect.base.files import remove_left_over
from idiolect.base.guard import check_output
from idiolect.base.hashes import sha256_file, sha256_text
from idiolect.base.units import SAMPLE_RATE
from idiolect.evaluation.comparison import (
    COMPARISON_FILE,
    SIDES,
    Comparison,
    ComparisonOrder,
    Hearing,
    ModelSide,
    read_comparison,
    write_comparison,
)
from idiolect.evaluation.naturalness import find_naturalness
from idiolect.evaluation.reading import (
    Ears,
    Reading,
    Said,
    Setting,
    Side,
    speak_timed,
)
from idiolect.listening.listeners import Listener
from idiolect.listening.named import listener_named
from idiolect.models.published import BaseFiles
from idiolect.registry.describe import spoken_language
from idiolect.registry.store import ModelFiles, find_model
from idiolect.synthesis.devices import choose_device
from idiolect.synthesis.model import version_of
from idiolect.synthesis.output import FULL_SCALE
from idiolect.synthesis.sampling import Cancelled
from idiolect.synthesis.voice import Voice

WARM_UP_LETTERS = 12
"""Of the first word, which is spoken for nothing."""
WARM_UP_CODES = 200
"""Four seconds: longer than a word takes, for a model that does not end."""
LOOK_EVERY_SEC = 0.5
"""How often who waits for another comparison asks whether they still want theirs."""
LENGTH_NAMES = ("max_codes", "max_mel_tokens")
"""Names of the setting that limits a segment."""


class Lends(Protocol):
    """What lends models by name: :class:`~idiolect.synthesis.swap.ModelSlot`."""

    def leased(self, name: str, device: str | torch.device | None) -> AbstractContextManager[Voice]:
        """Lend ``name`` on ``device``."""


class Comparisons:
    """Makes comparisons, and finds those that were made.

    Args:
        slot: Lends the models.
        files: The base.
        model_dir: Where installed models are.
        folder: What is made goes there, each comparison to a folder of its own.
    """

    def __init__(self, slot: Lends, files: BaseFiles, model_dir: Path, folder: Path) -> None:
        self.folder = folder
        self._slot = slot
        self._files = files
        self._model_dir = model_dir
        self._one_at_a_time = Lock()
        self._listeners: dict[tuple[str, Path | None], Listener | None] = {}

    def names(self) -> list[str]:
        """Return the names of the comparisons in the folder, the newest first."""
        found = self.folder.glob(f"*/{COMPARISON_FILE}")
        return sorted((path.parent.name for path in found), reverse=True)

    def place(self, name: str) -> Path:
        """Return the folder of the comparison ``name``.

        Raises:
            DataError: There is none.
        """
        if name not in self.names():
            raise DataError(f"there is no comparison {name!r}", where=str(self.folder))
        return self.folder / name

    def run(
        self, order: ComparisonOrder, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Path, Comparison]]:
        """Compare; yield the folder and the comparison at first and after each reading.

        An order that was begun and not finished goes on in its folder. Two comparisons never run
        at a time: they would be in each other's times.

        Args:
            order: What to compare.
            cancelled: Asked some times a second; True ends the work, and what is finished stays.

        Raises:
            RegistryError: A model is not installed.
            CheckpointError: Its files are damaged, or the recogniser lacks.
            ConfigError: The recogniser is unknown.
            DataError: The prompt cannot be read.
            SynthesisError: The device cannot be used, a model has to be told the language, or no
                sentence could be spoken at all.
            GuardError: The folder lies in a base.
        """
        while not self._one_at_a_time.acquire(timeout=LOOK_EVERY_SEC):
            if cancelled():
                return
        try:
            yield from _Run(self, order, cancelled).steps()
        finally:
            self._one_at_a_time.release()

    def listener(self, order: ComparisonOrder) -> Listener | None:
        """Return who listens to ``order``; read once."""
        key = (order.asr, order.asr_dir)
        if key not in self._listeners:
            self._listeners.clear()
            self._listeners[key] = listener_named(
                order.asr, folder=order.asr_dir, base_semantic_dir=self._files.semantic_dir
            )
        return self._listeners[key]

    def models(self, order: ComparisonOrder) -> dict[Side, ModelFiles]:
        """Return the files of both models of ``order``."""
        names = {"a": order.model_a, "b": order.model_b}
        return {side: find_model(names[side], self._model_dir, self._files) for side in SIDES}

    def leased(self, name: str, device: str | None) -> AbstractContextManager[Voice]:
        """Lend ``name``."""
        return self._slot.leased(name, device)

    def begun(self, identity: str) -> tuple[Path, Comparison] | None:
        """Return the unfinished comparison of this ``identity``, if there is one."""
        for name in self.names():
            try:
                comparison = read_comparison(self.folder / name)
            except UserError:
                continue  # of another version; it is not touched
            if comparison.identity == identity and not comparison.is_finished:
                return self.folder / name, comparison
        return None


class _Run:
    """One order, from the first sentence that is missing to the last."""

    def __init__(
        self, home: Comparisons, order: ComparisonOrder, cancelled: Callable[[], bool]
    ) -> None:
        check_output(home.folder)
        probe_audio(order.prompt)
        self._home = home
        self._order = replace(order, texts=tuple(t.strip() for t in order.texts if t.strip()))
        self._cancelled = cancelled
        self._found = home.models(order)
        self._said = Said(
            prompt=order.prompt,
            language=order.language or _only_language(self._found.values()),
            seed=order.seed,
            settings=order.settings,
        )
        for each in self._found.values():  # before anything is loaded
            spoken_language(each.name, each.languages, self._said.language)
        self._ears = Ears(listener=home.listener(order), naturalness=find_naturalness())
        self._warm: WeakSet[torch.nn.Module] = WeakSet()

    def steps(self) -> Iterator[tuple[Path, Comparison]]:
        folder, comparison = self._begin()
        write_comparison(folder, comparison)
        yield folder, comparison
        for sentence, side, spoken_first in turns(len(self._order.texts)):
            if comparison.reading(sentence, side) is not None:
                continue
            if self._cancelled():
                return
            try:
                reading = self._read(sentence, side, folder, spoken_first=spoken_first)
            except Cancelled:
                return
            comparison = replace(comparison, readings=(*comparison.readings, reading))
            write_comparison(folder, comparison)
            yield folder, comparison
        if not any(reading.sound for reading in comparison.readings):
            faults = dict.fromkeys(reading.error for reading in comparison.readings)
            raise SynthesisError(
                f"neither model could speak any of the sentences\n{summarize(faults)}",
                where=str(folder),
                fix="check the language of the texts, and that the models were trained on it",
            )

    def _begin(self) -> tuple[Path, Comparison]:
        """Return the folder and the state to go on from."""
        identity = self._identity()
        if (begun := self._home.begun(identity)) is not None:
            remove_left_over(begun[0])
            return begun
        now = datetime.now(UTC)
        names = "-".join(_plain(self._found[side].name) for side in SIDES)
        folder = _unused(self._home.folder, f"{now:%Y%m%d-%H%M%S}-{names}")
        sides = {side: self._side(side) for side in SIDES}
        return folder, Comparison(
            identity=identity,
            made=now.isoformat(timespec="seconds"),
            order=self._order,
            language=self._said.language,
            device=_name_of(choose_device(self._order.device)),
            a=sides["a"],
            b=sides["b"],
            hearing=self._hearing(),
            listener=self._ears.listener.name if self._ears.listener else "",
            predictor=self._ears.naturalness.name if self._ears.naturalness else "",
        )

    def _identity(self) -> str:
        """Return what is the same for two orders whose sounds and figures can be mixed."""
        versions = [version_of(self._found[side]) for side in SIDES]
        order = to_mapping(replace(self._order, prompt=Path(sha256_file(self._order.prompt))))
        naturalness = self._ears.naturalness is not None
        return sha256_text(repr((sorted(order.items()), versions, naturalness)))

    def _side(self, side: Side) -> ModelSide:
        found = self._found[side]
        with self._home.leased(self._name(side), self._order.device) as voice:
            model = voice.model
            return ModelSide(
                name=model.name,
                checkpoint=found.gpt.name,
                tokenizer=model.tokenizer.path.name,
                vocab_size=model.tokenizer.vocab_size,
                languages=model.languages,
                weight_bytes=model.num_bytes,
            )

    def _name(self, side: Side) -> str:
        return self._order.model_a if side == "a" else self._order.model_b

    def _hearing(self) -> Hearing:
        listener, language = self._ears.listener, self._said.language
        if listener is None:
            return "nobody"
        if language is None:
            return "no_language"
        return "heard" if listener.speaks(language) else "not_known"

    def _read(self, sentence: int, side: Side, folder: Path, *, spoken_first: bool) -> Reading:
        """Return one reading; why it failed, where it did, is part of it."""
        reading = Reading(
            sentence=sentence,
            side=side,
            text=self._order.texts[sentence - 1],
            spoken_first=spoken_first,
        )
        # Loading is outside: a model that cannot be loaded will not be by another sentence.
        with self._home.leased(self._name(side), self._order.device) as voice:
            self._warm_up(voice)
            try:
                timed = speak_timed(voice, reading.text, self._said, self._cancelled)
                judged = self._ears.judged(reading, timed, voice.stack, self._said)
            except UserError as error:
                return replace(reading, error="; ".join(filter(None, (error.problem, error.fix))))
            except torch.OutOfMemoryError:
                return replace(reading, error="the memory of the GPU is too small for it")
        sound = f"{side}/{sentence:03d}.wav"
        write_wav(folder / sound, (timed.wave / FULL_SCALE).numpy(), SAMPLE_RATE)
        return replace(judged, sound=sound)

    def _warm_up(self, voice: Voice) -> None:
        """Let a model that was just loaded speak a word."""
        gpt = voice.model.gpt
        if gpt in self._warm:
            return
        kept = {k: v for k, v in self._order.settings.items() if k not in LENGTH_NAMES}
        asked = [v for k, v in self._order.settings.items() if k in LENGTH_NAMES and v]
        settings: dict[str, Setting] = {**kept, "max_codes": min([WARM_UP_CODES, *asked])}
        word = self._order.texts[0].split()[0][:WARM_UP_LETTERS]
        try:
            said = replace(self._said, settings=settings)
            speak_timed(voice, word, said, self._cancelled)
        except UserError:
            pass  # the sentences will tell
        self._warm.add(gpt)


def turns(num_sentences: int) -> Iterator[tuple[int, Side, bool]]:
    """Yield (sentence from 1, side, whether it is the first of the sentence) in order of speaking.

    A B, B A, A B ...: each is first as often as second, and a slot that keeps one model swaps once
    a sentence.
    """
    for sentence in range(1, num_sentences + 1):
        first, second = SIDES if sentence % 2 else SIDES[::-1]
        yield sentence, first, True
        yield sentence, second, False


def _only_language(found: Iterable[ModelFiles]) -> str | None:
    """Return the language of the models that speak one alone; None where that is not one."""
    single = {each.languages[0] for each in found if len(each.languages) == 1}
    return single.pop() if len(single) == 1 else None


def _unused(folder: Path, name: str) -> Path:
    """Return a folder of that name, or with a number behind it: two may begin in one second."""
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    return next(folder / each for each in names if not (folder / each).exists())


def _plain(name: str) -> str:
    """Return ``name`` for a folder: a model that was copied by hand may be called anything."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name).lstrip(".") or "model"


def _name_of(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()} CPU, threads: {torch.get_num_threads()}"
