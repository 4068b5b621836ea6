"""The probe: the model that is being trained speaks unseen sentences by itself, and is measured.

What a loss cannot tell is heard: whether the text is read, in the prompt's voice and not in its
words, at the pace of the recordings, to the end. Chance is the same each time, so two checkpoints
differ by what they learnt only.

Letters: B sentences, L text ids, n codes, N samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from idiolect.audio.fbank import MIN_SAMPLES, speaker_fbank
from idiolect.audio.io import write_wav
from idiolect.audio.resample import resample_22k_to_16k
from idiolect.base.errors import ConfigError, DataError
from idiolect.base.files import write_jsonl
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.base.progress import Advance, progress, track
from idiolect.base.units import SAMPLE_RATE
from idiolect.data.manifest import parse_source
from idiolect.data.samples import Source, read_source
from idiolect.evaluation.probe_set import ProbeSentence, ProbeSet, choose_probe
from idiolect.evaluation.prompt import ProbePrompt, read_prompt
from idiolect.evaluation.spoken import Spoken, record_of, scores_of
from idiolect.listening.listeners import Listener
from idiolect.listening.named import NOBODY, listener_named
from idiolect.listening.scores import cosine
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.loading import load_gpt
from idiolect.models.published import BaseFiles
from idiolect.synthesis.request import sampling_settings
from idiolect.synthesis.sampling import Draw, SamplingSettings, generate
from idiolect.synthesis.stack import FrozenStack
from idiolect.text.tokenizer import Tokenizer
from idiolect.training.config import TrainConfig
from idiolect.training.probing import SAMPLES_DIR, SPOKEN_FILE, Probe, ProbeScores

BATCH_SENTENCES = 8
"""Sentences that are decoded side by side, where beams do not forbid it."""
FLOW_STEPS = 10
"""Fewer than in synthesis, which takes most of the time on a CPU: what is understood depends on the
codes, and the flow, which is not trained, is nearly as good."""


def make_probe(
    config: TrainConfig,
    files: BaseFiles,
    tokenizer: Tokenizer,
    validation: Sequence[Source],
    device: torch.device,
) -> Probe | None:
    """Return the probe that ``config`` asks for; None when it asks for none.

    The networks of the base are read, and all prompts; so what is missing is known before a run
    begins.

    Args:
        config: Of the run.
        files: Of the base.
        tokenizer: Of the model that will speak.
        validation: Whose sentences are spoken when ``config`` names no probe manifest.
        device: Where the model will be.

    Raises:
        ConfigError: The listener is unknown, or would have nothing to listen to.
        DataError: A manifest or a prompt cannot be read, or no sentence can be spoken.
        CheckpointError: A file of the base cannot be read.
        UserError: A package that the listener needs is not installed.
    """
    if not config.probe_sentences:
        if config.asr != NOBODY:
            raise ConfigError(
                f"{config.asr} would have nothing to listen to",
                where="--asr with --probe-sentences 0",
                fix="leave one of the two out",
            )
        return None
    sources = [read_source(parse_source(text)) for text in config.probe_manifest] or validation
    found = choose_probe(
        sources,
        tokenizer,
        count=config.probe_sentences,
        max_text_len=files.config.gpt.max_text_len,
    )
    if not found.sentences:
        if config.probe_manifest or config.asr != NOBODY:
            raise DataError(
                "no sentence can be spoken at validations",
                where=", ".join(str(source.spec.path) for source in sources),
                fix="name a --probe-manifest with two clips or more of a speaker",
            )
        return None
    listener = listener_named(
        config.asr, folder=config.asr_dir, base_semantic_dir=files.semantic_dir
    )
    _tell_unknown(listener, found.languages)
    return SpokenProbe.of(files, found, listener, device)


def _tell_unknown(listener: Listener | None, languages: Sequence[str]) -> None:
    """Say which of ``languages`` are spoken and not heard."""
    unknown = [] if listener is None else [one for one in languages if not listener.speaks(one)]
    if listener is not None and unknown:
        get_logger().warning(
            "%s does not know %s: no letters are counted there", listener.name, ", ".join(unknown)
        )


class Decoded(NamedTuple):
    """What the model made of one sentence."""

    codes: Tensor  # [1, n]
    is_ended: bool
    """Whether it stopped by itself."""


class SpokenProbe:
    """Sentences, the prompts they are spoken with, and who listens.

    Args:
        found: The sentences.
        prompts: Of each sentence, in the same order.
        stack: Codes to sound, and the speaker encoder.
        sampling: As the base samples.
        listener: None when nobody listens.
    """

    def __init__(
        self,
        found: ProbeSet,
        prompts: Sequence[ProbePrompt],
        stack: FrozenStack,
        sampling: SamplingSettings,
        listener: Listener | None,
    ) -> None:
        self.set = found
        self._prompts = dict(zip((s.key for s in found.sentences), prompts, strict=True))
        self._stack = stack
        self._sampling = sampling
        self._listener = listener

    @classmethod
    def of(
        cls, files: BaseFiles, found: ProbeSet, listener: Listener | None, device: torch.device
    ) -> SpokenProbe:
        """Read the networks of the base in ``files`` and the prompts of ``found``.

        Raises:
            CheckpointError: A file of the base cannot be read.
            DataError: A prompt cannot be read.
        """
        stack = FrozenStack.load(files, device)
        conditioners = load_gpt(files.gpt, files.config.gpt).to(device).eval()
        prompts = [
            read_prompt(stack, conditioners, sentence.prompt)
            for sentence in track(found.sentences, "reading prompts", unit="clips")
        ]
        stack.semantic.to("meta")  # the largest of them, and all that it was needed for is read
        sampling = sampling_settings(dict(files.config.generation))
        return cls(found, prompts, stack, sampling, listener)

    def measure(self, gpt: UnifiedVoice, step: int, folder: Path) -> ProbeScores:
        """Return how ``gpt`` speaks the sentences, as :class:`Probe` says.

        Sounds go to ``samples/step<step>/<language>/<number>.wav`` in ``folder``, and what was
        heard in them to ``spoken.jsonl`` beside.

        Raises:
            GuardError: ``folder`` lies in a base.
        """
        own = check_output(folder / SAMPLES_DIR / f"step{step}")
        with (
            _evaluating(gpt),
            self._networks_at_work(),
            torch.no_grad(),
            progress("speaking", len(self.set.sentences), unit="sentences") as advance,
        ):
            spoken = {
                language: self._speak_language(gpt, language, own, advance)
                for language in self.set.languages
            }
        write_jsonl(
            own / SPOKEN_FILE, (record_of(one) for several in spoken.values() for one in several)
        )
        scores = ProbeScores(
            languages={
                language: scores_of(several, self.set.codes_per_letter[language])
                for language, several in spoken.items()
            }
        )
        for language, found in scores.languages.items():
            get_logger().info("spoken at step %d, %s: %s", step, language, found.summary())
        return scores

    @contextmanager
    def _networks_at_work(self) -> Iterator[None]:
        """Have what makes sound on the device while it does; the rest of the time is training's."""
        stack = self._stack
        networks = (stack.codec, stack.s2mel, stack.vocoder, stack.speaker)
        for network in networks:
            network.to(stack.device)
        try:
            yield
        finally:
            for network in networks:
                network.to("cpu")

    def _speak_language(
        self, gpt: UnifiedVoice, language: str, folder: Path, advance: Advance
    ) -> list[Spoken]:
        size = BATCH_SENTENCES if self._sampling.num_beams == 1 else 1
        spoken = []
        todo = self.set.of(language)
        for start in range(0, len(todo), size):
            sentences = todo[start : start + size]
            prompts = [self._prompts[sentence.key] for sentence in sentences]
            decoded = decode(gpt, sentences, prompts, self._sampling)
            for sentence, prompt, said in zip(sentences, prompts, decoded, strict=True):
                spoken.append(self._render(gpt, sentence, prompt, said, folder))
                advance(1)
        return spoken

    def _render(
        self,
        gpt: UnifiedVoice,
        sentence: ProbeSentence,
        prompt: ProbePrompt,
        said: Decoded,
        folder: Path,
    ) -> Spoken:
        """Return how ``sentence`` was spoken, after writing its sound; no code is no sound."""
        sound = check_output(folder / sentence.file_name)
        spoken = Spoken(sentence=sentence, num_codes=said.codes.shape[1], is_ended=said.is_ended)
        if not spoken.num_codes:
            sound.unlink(missing_ok=True)
            return self._heard(spoken, torch.zeros(0), prompt)
        wave = self._wave(gpt, sentence, prompt, said.codes)
        write_wav(sound, wave[0].cpu().numpy(), SAMPLE_RATE)
        spoken = replace(spoken, duration_sec=wave.shape[1] / SAMPLE_RATE)
        return self._heard(spoken, resample_22k_to_16k(wave)[0], prompt)

    def _wave(
        self, gpt: UnifiedVoice, sentence: ProbeSentence, prompt: ProbePrompt, codes: Tensor
    ) -> Tensor:
        """Return the sound ``[1, N]`` of ``codes`` ``[1, n]``."""
        prefix = gpt.prefix(prompt.latents, prompt.emotion)
        states = gpt.code_latents(prefix, _ids(sentence, codes.device), codes)
        stack, voice = self._stack, prompt.voice
        mel = stack.s2mel.sample(
            torch.cat([voice.condition, stack.target_condition(codes, states)], dim=1),
            voice.mel,
            voice.style,
            generator=torch.Generator(codes.device).manual_seed(sentence.seed),
            num_steps=FLOW_STEPS,
        )
        wave: Tensor = stack.vocoder(mel[..., voice.mel.shape[-1] :])[:, 0]
        return wave.clamp(-1, 1)

    def _heard(self, spoken: Spoken, audio: Tensor, prompt: ProbePrompt) -> Spoken:
        """Return ``spoken`` with what is heard in ``audio`` ``[N]`` at 16 kHz."""
        listener, language = self._listener, spoken.sentence.language
        listens = listener is not None and listener.speaks(language)
        if len(audio) < MIN_SAMPLES:
            return replace(spoken, heard="" if listens else None)
        style = self._stack.speaker(speaker_fbank(audio)[None])[0]
        heard = None
        if listener is not None and listens:
            heard = listener.hear(audio.cpu().numpy(), language)
        return replace(spoken, similarity=cosine(style, prompt.voice.style[0]), heard=heard)


def decode(
    gpt: UnifiedVoice,
    sentences: Sequence[ProbeSentence],
    prompts: Sequence[ProbePrompt],
    sampling: SamplingSettings,
) -> list[Decoded]:
    """Return the codes of each sentence, which is cut where it has gone on for too long.

    Each has a source of chance of its own. With beams, there is one sentence only.
    """
    device = prompts[0].latents.device
    prefix = gpt.prefix(
        torch.cat([prompt.latents for prompt in prompts]),
        torch.cat([prompt.emotion for prompt in prompts]),
    )
    rows = [_ids(sentence, device)[0] for sentence in sentences]
    text_ids = pad_sequence(rows, batch_first=True, padding_value=gpt.dims.stop_text)
    most = max(sentence.most_codes for sentence in sentences)
    limited = replace(sampling, max_codes=min(sampling.max_codes, most))
    generators = [torch.Generator(device).manual_seed(s.seed) for s in sentences]
    found = generate(gpt, prefix, text_ids, limited, draw=_draw_each_with(generators))
    ends = zip(sentences, found.code_lens.tolist(), found.is_finished.tolist(), strict=True)
    return [
        Decoded(
            codes=codes[None, : min(length, sentence.most_codes)],
            is_ended=is_finished and length < sentence.most_codes,
        )
        for codes, (sentence, length, is_finished) in zip(found.codes, ends, strict=True)
    ]


def _ids(sentence: ProbeSentence, device: torch.device) -> Tensor:
    """Return the text ids ``[1, L]`` of ``sentence``."""
    return torch.tensor([sentence.text_ids], device=device)


def _draw_each_with(generators: Sequence[torch.Generator]) -> Draw:
    """Return a draw in which each row has chance of its own, whoever it is decoded beside."""

    def draw(probs: Tensor, count: int) -> Tensor:
        rows = zip(probs, generators, strict=True)
        return torch.stack([torch.multinomial(row, count, generator=own) for row, own in rows])

    return draw


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Let ``model`` drop nothing; then put each part back into the mode that it was in."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
