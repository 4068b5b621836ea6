"""Decoding: what the GPT is asked next, and which code is taken of those that it scores.

With one beam this is greedy decoding or plain sampling; with more it is beam search or
beam-sample. All follow the published semantics, peculiarities included:

* code inputs count positions 0, 2, 3 … (:func:`idiolect.models.gpt.decode_positions`);
* the repetition penalty also hits code 1 and the start code, since the published history holds
  them: code 1 fills the place of the prompt;
* with beams, the penalty and the filters work on log-probabilities, the results are summed as
  they are, and candidates are drawn over all beams together.

Letters: B sequences, R rows that are decoded (B, or one sequence's beams), S prompt rows,
L text ids, n codes, V codes to choose from, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from idiolect.base.errors import ConfigError, SynthesisError
from idiolect.base.log import get_logger
from idiolect.models.gpt import KeyValueCache, UnifiedVoice, decode_positions

HISTORY_FILLING: Final = 1
"""The code that stands for the prompt in the published history."""
UNREACHABLE: Final = -1e9
"""Score of the beams that do not exist at the first step."""


class Cancelled(Exception):  # noqa: N818 -- nothing went wrong
    """Whoever asked does not wait any more."""


Draw = Callable[[Tensor, int], Tensor]
"""Probabilities ``[R, W]`` and a count to as many different indices ``[R, count]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """How codes are chosen; the defaults are the published ones."""

    do_sample: bool = True
    """Draw by probability; otherwise take the likeliest."""
    temperature: float = 0.8
    """Above 1 flattens the probabilities, below 1 sharpens them."""
    top_k: int = 30
    """Choose among this many of the likeliest codes; 0 is all."""
    top_p: float = 0.8
    """Choose among the likeliest codes that hold this share of the probability; 1 is all."""
    num_beams: int = 3
    """Sequences that are followed side by side."""
    repetition_penalty: float = 10.0
    """What the score of a code that was said before is divided by; 1 is none."""
    length_penalty: float = 0.0
    """Power of the length that the score of a finished beam is divided by."""
    max_codes: int = 1500
    """Codes at 50 a second, the stop code among them."""
    typical_mass: float | None = None
    """Choose among the codes of typical information that hold this share of the probability."""

    def __post_init__(self) -> None:
        for name, is_right, rule in (
            ("temperature", self.temperature > 0, "above 0"),
            ("top_k", self.top_k >= 0, "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0, at most 1"),
            ("num_beams", self.num_beams >= 1, "1 or more"),
            ("repetition_penalty", self.repetition_penalty > 0, "above 0"),
            ("max_codes", self.max_codes >= 1, "1 or more"),
            ("typical_mass", self.typical_mass is None or 0 < self.typical_mass < 1, "in 0 to 1"),
        ):
            if not is_right:
                value = getattr(self, name)
                raise ConfigError(f"{name} {value} is out of range", fix=f"choose a value {rule}")

    @property
    def min_kept(self) -> int:
        """How many codes the filters leave at least: beams need one that is not the stop."""
        return 2 if self.num_beams > 1 else 1


GREEDY: Final = SamplingSettings(do_sample=False, num_beams=1, repetition_penalty=1.0)
"""Always the likeliest code, repeated or not: what a trained model says by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What was decoded."""

    codes: Tensor
    """``[B, n]`` int64; the stop code ends a row that is finished, and fills it."""
    stop_code: int
    score: float | None = None
    """Of the best beam; None without beams."""

    @property
    def is_finished(self) -> Tensor:
        """True for rows that said stop, ``[B]``."""
        return (self.codes == self.stop_code).any(dim=1)

    @property
    def code_lens(self) -> Tensor:
        """Codes before the stop, ``[B]``."""
        return (self.codes == self.stop_code).cumsum(dim=1).eq(0).sum(dim=1)


def generate_codes(
    model: UnifiedVoice,
    prefix: Tensor,
    text_ids: Tensor,
    settings: SamplingSettings,
    generator: torch.Generator | None = None,
    *,
    draw: Draw | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Return the codes ``[1, n]`` of one text without the stop code; n may be 0.

    See :func:`generate`. A text that does not come to its end is cut, and a warning logged.
    """
    found = generate(model, prefix, text_ids, settings, generator, draw=draw, cancelled=cancelled)
    if not found.is_finished.all():
        get_logger().warning(
            "the speech was cut after %d codes, before its end", found.codes.shape[1]
        )
    return found.codes[:1, : int(found.code_lens[0])]


@torch.no_grad()
def generate(
    model: UnifiedVoice,
    prefix: Tensor,
    text_ids: Tensor,
    settings: SamplingSettings,
    generator: torch.Generator | None = None,
    *,
    draw: Draw | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generation:
    """Decode codes for each text.

    Args:
        model: In evaluation mode.
        prefix: ``[B, 34, D]`` of :meth:`UnifiedVoice.prefix`.
        text_ids: ``[B, L]``; start and stop ids in it are left out, so either fills short rows.
        settings: How codes are chosen. With beams, B is 1.
        generator: Source of chance, on the device of the model; None is torch's own.
        draw: Stands in for the draw by ``generator``, in tests.
        cancelled: Asked before each code but the first.

    Raises:
        Cancelled: It said so.
        SynthesisError: A text has more ids than the model has positions.
    """
    if model.training:
        raise ValueError("a model in training mode does not decode: its dropout is on")
    # The second pass embeds a start and a stop around the codes: two rows of the table.
    settings = replace(settings, max_codes=min(settings.max_codes, model.dims.code_positions - 2))
    draw = draw or _draw_with(generator)
    rows, keep = prompt_rows(model, prefix, text_ids)
    decoder = _Decoder(model, rows, keep, settings.max_codes, cancelled)
    if settings.num_beams > 1:
        return _search(decoder, settings, draw)
    return _sample(decoder, settings, draw)


def prompt_rows(
    model: UnifiedVoice, prefix: Tensor, text_ids: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return what stands before the codes, ``[B, S, D]``, and which of it counts, ``[B, S]``.

    Shorter texts have zeros at their left, where the mask is False; it is None when all counts.
    """
    edges = torch.tensor([model.dims.start_text, model.dims.stop_text], device=text_ids.device)
    texts = [row[~torch.isin(row, edges)] for row in text_ids]
    rows = [
        torch.cat([before, _embed_text(model, text)])
        for before, text in zip(prefix, texts, strict=True)
    ]
    lens = torch.tensor([len(row) for row in rows], device=prefix.device)
    longest = int(lens.max())
    embeds = pad_sequence(rows, batch_first=True, padding_side="left")
    if bool((lens == longest).all()):
        return embeds, None
    return embeds, torch.arange(longest, device=lens.device) >= longest - lens[:, None]


def process_scores(scores: Tensor, seen: Tensor, settings: SamplingSettings) -> Tensor:
    """Return ``scores`` ``[R, V]`` with the penalty applied and what is filtered out at -inf.

    Args:
        scores: Logits, or log-probabilities when there are beams.
        seen: True for the codes of each row's history, ``[R, V]``.
        settings: The temperature and its filters count only when codes are drawn.
    """
    scores = penalize(scores, seen, settings.repetition_penalty)
    if settings.typical_mass is not None:
        scores = keep_typical(scores, settings.typical_mass, settings.min_kept)
    if not settings.do_sample:
        return scores
    scores = scores / settings.temperature
    if settings.top_k:
        scores = keep_top_k(scores, max(settings.top_k, settings.min_kept))
    if settings.top_p < 1:
        scores = keep_top_p(scores, settings.top_p, settings.min_kept)
    return scores


def penalize(scores: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Lower the scores of ``seen`` codes, once each however often they came."""
    lowered = torch.where(scores < 0, scores * penalty, scores / penalty)
    return torch.where(seen, lowered, scores)


def keep_top_k(scores: Tensor, k: int) -> Tensor:
    """Keep the ``k`` highest scores, and what equals the last of them."""
    least = scores.topk(min(k, scores.shape[-1])).values[..., -1:]
    return scores.masked_fill(scores < least, -math.inf)


def keep_top_p(scores: Tensor, p: float, min_kept: int) -> Tensor:
    """Keep the likeliest codes that together hold the probability ``p``."""
    ascending, order = scores.sort(dim=-1)
    drop = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    drop[..., -min_kept:] = False
    return scores.masked_fill(_unsort(drop, order), -math.inf)


def keep_typical(scores: Tensor, mass: float, min_kept: int) -> Tensor:
    """Keep the codes whose information is nearest to the expected, up to probability ``mass``.

    Source:
        Meister et al. 2023, Locally typical sampling, section 3.
    """
    logprobs = scores.log_softmax(dim=-1)
    entropy = -(logprobs * logprobs.exp()).nansum(dim=-1, keepdim=True)
    distance, order = (-logprobs - entropy).abs().sort(dim=-1)
    cumulative = scores.gather(-1, order).softmax(dim=-1).cumsum(dim=-1)
    last = (cumulative < mass).sum(dim=-1, keepdim=True).clamp(max=scores.shape[-1] - 1)
    drop = distance > distance.gather(-1, last)
    drop[..., :min_kept] = False
    return scores.masked_fill(_unsort(drop, order), -math.inf)


class _Decoder:
    """A model in the middle of its sequences: the cache, and how many code inputs it was given."""

    def __init__(
        self,
        model: UnifiedVoice,
        prompt: Tensor,
        keep: Tensor | None,
        max_codes: int,
        cancelled: Callable[[], bool],
    ) -> None:
        self.model = model
        self.cancelled = cancelled
        self.max_codes = max_codes
        self.prompt = prompt  # [B, S, D]
        self.keep = None if keep is None else F.pad(keep, (0, 1 + max_codes), value=True)
        self.cache = KeyValueCache(model.dims.num_layers, prompt.shape[1] + 1 + max_codes)
        self.positions = decode_positions(1 + max_codes, prompt.device)
        self.num_inputs = 0
        self._start_code = self.positions.new_tensor([model.dims.start_code])

    def start(self) -> Tensor:
        """Return the logits of the first code, ``[B, V]`` float32."""
        codes = self.positions.new_full((len(self.prompt), 1), self.model.dims.start_code)
        return self._advance(torch.cat([self.prompt, self._embed(codes)], dim=1))

    def step(self, codes: Tensor) -> Tensor:
        """Return the logits behind ``codes`` ``[R]``, ``[R, V]`` float32."""
        if self.cancelled():
            raise Cancelled
        return self._advance(self._embed(codes[:, None]))

    def speakable(self, scores: Tensor) -> Tensor:
        """Return ``scores`` ``[R, V]`` without the start code: it is never said, nor heard."""
        return scores.index_fill(-1, self._start_code, -math.inf)

    def seen(self) -> Tensor:
        """Return the history before the first code as a mask ``[B, V]``."""
        dims = self.model.dims
        seen = self.prompt.new_zeros(len(self.prompt), dims.num_codes, dtype=torch.bool)
        seen[:, [HISTORY_FILLING, dims.start_code]] = True
        return seen

    def _embed(self, codes: Tensor) -> Tensor:
        position = self.positions[self.num_inputs : self.num_inputs + 1]
        self.num_inputs += 1
        return self.model.embed_codes(codes, position)

    def _advance(self, embeds: Tensor) -> Tensor:
        rows = self.cache.len + embeds.shape[1]
        keep = None if self.keep is None else self.keep[:, :rows]
        states = self.model.transform(embeds, keep, self.cache)
        logits: Tensor = self.model.mel_head(states[:, -1]).float()
        return logits


def _sample(decoder: _Decoder, settings: SamplingSettings, draw: Draw) -> Generation:
    """Take one code after the other, greedily or by chance."""
    stop = decoder.model.dims.stop_code
    logits, seen = decoder.start(), decoder.seen()
    is_open = seen.new_ones(len(seen))
    taken: list[Tensor] = []
    while True:
        scores = process_scores(decoder.speakable(logits), seen, settings)
        choice = draw(scores.softmax(-1), 1)[:, 0] if settings.do_sample else scores.argmax(-1)
        choice = choice.where(is_open, stop)
        taken.append(choice)
        is_open = is_open & (choice != stop)
        if len(taken) == settings.max_codes or not is_open.any():
            return Generation(codes=torch.stack(taken, dim=1), stop_code=stop)
        seen.scatter_(1, choice[:, None], value=True)
        logits = decoder.step(choice)


def _search(decoder: _Decoder, settings: SamplingSettings, draw: Draw) -> Generation:
    """Follow several beams of one sequence side by side."""
    if len(decoder.prompt) > 1:
        raise ValueError(f"beams follow one sequence, not {len(decoder.prompt)}")
    num_beams, stop = settings.num_beams, decoder.model.dims.stop_code
    prompt_len = decoder.prompt.shape[1]
    logits = decoder.start().repeat(num_beams, 1)  # [R, V]
    seen = decoder.seen().repeat(num_beams, 1)
    decoder.cache = decoder.cache.repeat(num_beams)
    totals = logits.new_full((num_beams,), UNREACHABLE)
    totals[0] = 0.0
    codes = decoder.positions.new_empty(num_beams, 0)  # [R, n]
    pool = _Hypotheses(num_beams, settings.length_penalty)
    while True:
        scores = decoder.speakable(logits.log_softmax(-1))
        scores = process_scores(scores, seen, settings) + totals[:, None]
        chosen = _choose_beams(scores, codes, pool, stop=stop, settings=settings, draw=draw)
        codes = torch.cat([codes[chosen.parents], chosen.codes[:, None]], dim=1)
        totals = chosen.totals
        if pool.is_done(chosen.best_total, codes.shape[1]):
            break
        if codes.shape[1] == settings.max_codes:
            for beam, total in zip(codes, totals.tolist(), strict=True):
                pool.add(beam, total, codes.shape[1])
            break
        seen = seen[chosen.parents].scatter(1, chosen.codes[:, None], value=True)
        decoder.cache.reorder(chosen.parents, start=prompt_len)
        logits = decoder.step(chosen.codes)
    score, best = pool.best
    if len(best) < settings.max_codes:
        best = F.pad(best, (0, 1), value=stop)
    return Generation(codes=best[None], stop_code=stop, score=score)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beams:
    """One step of all beams."""

    parents: Tensor  # [R]: which beam each goes on from
    codes: Tensor  # [R]: its new code
    totals: Tensor  # [R]: its summed scores
    best_total: float  # of all candidates, stops among them


def _choose_beams(
    scores: Tensor,
    codes: Tensor,
    pool: _Hypotheses,
    *,
    stop: int,
    settings: SamplingSettings,
    draw: Draw,
) -> _Beams:
    """Choose how the beams go on from ``scores`` ``[R, V]``; those that stop go to ``pool``.

    Twice as many candidates as beams are looked at, so that enough are left when all beams stop.
    A stop that is not among the first half is passed over.
    """
    num_beams, num_codes = scores.shape
    flat, count = scores.flatten(), 2 * num_beams
    if settings.do_sample:
        # When fewer have any probability, the rest is drawn at -inf and sorts last.
        drawn = draw(flat.softmax(-1)[None], count)[0]
        totals, order = flat[drawn].sort(descending=True)
        picks = drawn[order]
    else:
        totals, picks = flat.topk(count)
    going: list[int] = []
    for rank, (pick, total) in enumerate(zip(picks.tolist(), totals.tolist(), strict=True)):
        if pick % num_codes != stop:
            going.append(rank)
        elif rank < num_beams:
            pool.add(codes[pick // num_codes], total, codes.shape[1] + 1)
    kept = picks[going[:num_beams]]
    return _Beams(
        parents=kept // num_codes,
        codes=kept % num_codes,
        totals=totals[going[:num_beams]],
        best_total=float(totals.max()),
    )


class _Hypotheses:
    """The best finished beams, as many as there are beams."""

    def __init__(self, num_beams: int, length_penalty: float) -> None:
        self.num_beams = num_beams
        self.length_penalty = length_penalty
        self._found: list[tuple[float, Tensor]] = []  # worst first, of equals the first found

    @property
    def best(self) -> tuple[float, Tensor]:
        """The best score and its codes ``[n]``."""
        return self._found[-1]

    def add(self, codes: Tensor, total: float, length: int) -> None:
        """Keep ``codes`` ``[n]`` if there is room, or if they are better than the worst."""
        score = self._score(total, length)
        if self.is_full:
            if score <= self._found[0][0]:
                return
            del self._found[0]
        self._found.append((score, codes))
        self._found.sort(key=lambda entry: entry[0])

    @property
    def is_full(self) -> bool:
        """Whether there are as many as there are beams."""
        return len(self._found) == self.num_beams

    def is_done(self, best_total: float, length: int) -> bool:
        """Tell whether no running beam, if it ended now, would be among the best."""
        return self.is_full and self._found[0][0] >= self._score(best_total, length)

    def _score(self, total: float, length: int) -> float:
        return total / math.pow(length, self.length_penalty)


def _embed_text(model: UnifiedVoice, text: Tensor) -> Tensor:
    """Return the rows ``[L + 2, D]`` of one text ``[L]``."""
    if len(text) > model.dims.max_text_len:
        raise SynthesisError(
            f"a segment of {len(text)} tokens; the model has room for {model.dims.max_text_len}",
            fix="lower max_text_tokens_per_segment",
        )
    inputs, _ = model.frame_text(text[None])
    return model.embed_text(inputs)[0]


def _unsort(mask: Tensor, order: Tensor) -> Tensor:
    return mask.scatter(-1, order, mask)


def _draw_with(generator: torch.Generator | None) -> Draw:
    def draw(probs: Tensor, count: int) -> Tensor:
        return torch.multinomial(probs, count, generator=generator)

    return draw
