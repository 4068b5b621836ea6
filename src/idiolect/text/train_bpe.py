"""Train a tokenizer on the text that the front-end produces, or extend the base's.

Special ids, normalisation and word marks are the published tokenizer's, so that the GPT frames
its text the same way whatever the vocabulary.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sentencepiece

from idiolect.base.config import to_mapping
from idiolect.base.errors import ConfigError, DataError, TokenizerError
from idiolect.base.files import atomic_path, read_json, write_json, write_text
from idiolect.base.guard import check_output
from idiolect.base.hashes import sha256_file
from idiolect.base.log import get_logger
from idiolect.text.coverage import CoverageReport, measure_prepared
from idiolect.text.extend_bpe import Extension, extend_model
from idiolect.text.languages import find_language
from idiolect.text.model_file import parse_model
from idiolect.text.normalize import front_end_identity, language_code, prepare_text
from idiolect.text.tokenizer import START_ID, STOP_ID, UNKNOWN_ID, Tokenizer

FORMAT_VERSION = 1
NORMALIZATION = "nmt_nfkc"
SPECIAL_IDS = {"bos_id": START_ID, "eos_id": STOP_ID, "unk_id": UNKNOWN_ID, "pad_id": -1}
SENTENCE_MARKS = ("...", ".", ",", "!", "?")
"""Always pieces of their own: segments are cut at them."""
WORD_SIGNS = "'-"
"""Always in the vocabulary: the front-end makes every quote and dash one of them."""

MIN_USED_SHARE = 0.95
"""A vocabulary that its own corpus uses less of is larger than the corpus can carry."""
MIN_USED_MERGES = 0.98
"""Merges used this well are carried too: a small corpus leaves letters unused in any case."""
SMALL_VOCABULARY = 2000
"""Below this many pieces, the merges that a bpe needs on the way cost too large a share."""
MIN_LETTER_COUNT = 2
"""A letter of an alphabet that occurs this often is kept, however rare."""
MAX_LINE_BYTES = 1 << 20
LATIN = "abcdefghijklmnopqrstuvwxyz"
MIDDLE_DOT = "·"

ModelType = Literal["bpe", "unigram"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """How a tokenizer is trained."""

    output_prefix: Path
    """Where to write: PREFIX.model, PREFIX.vocab and PREFIX.json."""
    vocab_size: int = 12000
    """Pieces of the vocabulary; lowered, with a notice, to what the corpus can carry. Of an
    extension: the most that is appended."""
    character_coverage: float = 0.9995
    """Share of the corpus's characters that get a piece; letters of an alphabet always do."""
    model_type: Literal["auto", "bpe", "unigram"] = "auto"
    """How pieces are found: bpe joins frequent neighbours, unigram keeps the likeliest, as the
    published tokenizer does; auto is bpe, or unigram where the corpus is too small for a bpe."""
    extend: Path | None = None
    """Tokenizer to extend, for example checkpoints/bpe.model: its ids and its way of cutting
    Chinese and English stay, and what the new language needs is appended."""
    input_sentence_size: int = 0
    """Learn from a random sample of so many texts; 0 takes all."""
    byte_fallback: bool = False
    """Spell unknown characters as bytes (256 more pieces) in place of <unk>."""
    seed: int = 0
    """Seed of the sample of texts."""
    overwrite: bool = False
    """Replace a tokenizer that other settings made."""

    def __post_init__(self) -> None:
        if self.vocab_size < 1:
            raise ConfigError(f"a vocabulary of {self.vocab_size} pieces", where="--vocab-size")
        if not 0 < self.character_coverage <= 1:
            raise ConfigError(
                f"{self.character_coverage} is not a share",
                where="--character-coverage",
                fix="give a number above 0 and up to 1, such as 0.9995",
            )
        if self.input_sentence_size < 0:
            raise ConfigError(f"{self.input_sentence_size} texts", where="--input-sentence-size")

    def output(self, suffix: str) -> Path:
        """Return the file of this tokenizer that ends in ``suffix``, dots of the prefix kept."""
        return self.output_prefix.with_name(self.output_prefix.name + suffix)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerReport:
    """What was trained, and how well it fits the corpus that it was trained on."""

    path: Path
    sha256: str
    vocab_size: int
    languages: tuple[str, ...]
    coverage: CoverageReport
    extension: Extension | None
    notices: tuple[str, ...]

    def summary(self) -> str:
        """Return the report as lines of text."""
        lines = [*self.notices, self.coverage.summary()]
        if self.extension:
            lines.append(self.extension.summary())
        lines.append(f"{self.path}: {self.vocab_size} pieces, sha256 {self.sha256}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Corpus:
    """Prepared texts, and how many there are of each language."""

    lines: tuple[str, ...]
    num_texts: Counter[str | None]
    num_empty: int

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(sorted(code for code in self.num_texts if code))


def train_tokenizer(
    texts: Iterable[tuple[str, str | None]], config: TokenizerConfig
) -> TokenizerReport:
    """Train (or extend) a tokenizer on raw ``texts``, each with its language, and write it.

    Raises:
        GuardError: The output lies in a base folder.
        TokenizerError: Another tokenizer is there already, the vocabulary is too small for the
            characters, or an extension would change how the base cuts its own languages.
        DataError: There is no text.
    """
    if config.extend:
        Tokenizer.load(config.extend)
    _check_outputs(config)
    corpus = _prepare(texts)
    extension = None
    if config.extend is None:
        model, notices = _train(corpus, config)
    else:
        model, extension = extend_model(config.extend, corpus.lines, max_new=config.vocab_size)
        notices = []
    if corpus.num_empty:
        notices.insert(0, f"{corpus.num_empty} texts left out: nothing in them is spoken")
    tokenizer = Tokenizer.from_bytes(model, config.output(".model"))
    report = TokenizerReport(
        path=tokenizer.path,
        sha256=tokenizer.sha256,
        vocab_size=tokenizer.vocab_size,
        languages=corpus.languages,
        coverage=measure_prepared(
            tokenizer, corpus.lines, first_id=extension.base_size if extension else 0
        ),
        extension=extension,
        notices=tuple(notices),
    )
    _write(model, corpus, report, config)
    return report


def _prepare(texts: Iterable[tuple[str, str | None]]) -> _Corpus:
    num_texts: Counter[str | None] = Counter()
    lines = []
    for text, language in texts:
        num_texts[language_code(language)] += 1
        lines.append(prepare_text(text, language))
    spoken = tuple(line for line in lines if line)
    if not spoken:
        raise DataError("there is no text to learn from", fix="check the texts of the manifest")
    return _Corpus(lines=spoken, num_texts=num_texts, num_empty=len(lines) - len(spoken))


# --- training -------------------------------------------------------------------------------------


def _train(corpus: _Corpus, config: TokenizerConfig) -> tuple[bytes, list[str]]:
    """Return the model of ``corpus`` and what has to be said about it."""
    notices = []
    kind: ModelType = "bpe" if config.model_type == "auto" else config.model_type
    model = _model_of(corpus, config, kind)
    if config.model_type == "auto" and _size(model) < min(config.vocab_size, SMALL_VOCABULARY):
        notices.append(
            f"a bpe would have {_size(model)} pieces: the pieces are unigram, of which a small "
            "corpus carries more"
        )
        model = _model_of(corpus, config, "unigram")
    if _size(model) < config.vocab_size:
        notices.append(
            f"vocabulary lowered from {config.vocab_size} to {_size(model)} pieces: "
            f"this corpus carries no more ({len(corpus.lines)} texts)"
        )
    return model, notices


def _model_of(corpus: _Corpus, config: TokenizerConfig, kind: ModelType) -> bytes:
    model = _run_trainer(corpus, config, kind)
    return _cut_to_corpus(model, corpus.lines) if kind == "bpe" else model


def _size(model: bytes) -> int:
    return len(parse_model(model).pieces)


def _run_trainer(corpus: _Corpus, config: TokenizerConfig, kind: ModelType) -> bytes:
    counts = Counter("".join(corpus.lines))
    model = io.BytesIO()
    settings: dict[str, Any] = {
        **SPECIAL_IDS,
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "hard_vocab_limit": False,
        "character_coverage": config.character_coverage,
        "required_chars": _required_letters(counts, corpus.languages),
        "user_defined_symbols": list(SENTENCE_MARKS),
        "normalization_rule_name": NORMALIZATION,
        "add_dummy_prefix": True,
        "byte_fallback": config.byte_fallback,
        "input_sentence_size": config.input_sentence_size,
        "shuffle_input_sentence": config.input_sentence_size > 0,
        "max_sentence_length": MAX_LINE_BYTES,
        "num_threads": 1,  # the sums of unigram depend on how they are cut
        "minloglevel": 2,
    }
    sentencepiece.set_random_generator_seed(config.seed)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus.lines), model_writer=model, **settings
        )
    except RuntimeError as error:
        raise _training_failure(config, str(error)) from error
    return model.getvalue()


def _training_failure(config: TokenizerConfig, message: str) -> TokenizerError:
    too_small = re.search(r"smaller than required_chars. \d+ vs (\d+)", message)
    if not too_small:
        return TokenizerError(f"no tokenizer could be trained: {message}")
    return TokenizerError(
        f"a vocabulary of {config.vocab_size} pieces is too small: the letters, marks and special "
        f"pieces of this corpus alone are {too_small[1]}",
        where="--vocab-size",
        fix=f"give more than {too_small[1]}, better a few hundred",
    )


def _required_letters(counts: Counter[str], languages: Iterable[str]) -> str:
    """Return the letters that get a piece whatever their share: alphabets are small."""
    required = {c for c, count in counts.items() if count >= MIN_LETTER_COUNT and _is_cased(c)}
    signs = set(WORD_SIGNS)
    for code in languages:
        language = find_language(code)
        required.update((language.letters + LATIN).upper() if language.letters else "")
        if language.middle_dot:
            signs.add(MIDDLE_DOT)
    return "".join(sorted({c for c in required if _is_cased(c)} | signs))


def _is_cased(character: str) -> bool:
    return character.lower() != character


def _cut_to_corpus(model: bytes, lines: tuple[str, ...]) -> bytes:
    """Return ``model`` with as many of its merges, in order, as the corpus makes use of.

    The merges of a smaller BPE are the first ones of a larger: the rest is cut off, the model
    that is left is the one that would have been trained at that size.
    """
    proto = parse_model(model)
    words = sorted({word for line in lines for word in line.split()})
    merges = sum(_is_merge(piece) for piece in proto.pieces)
    kept = _most_merges(merges, lambda n: _is_carried(_with_merges(proto, n), words))
    return model if kept == merges else _with_merges(proto, kept)


def _most_merges(merges: int, is_carried: Callable[[int], bool]) -> int:
    """Return the largest number up to ``merges`` that is carried, to within the steps tried.

    What is carried comes and goes near the limit, so the search comes down from above.
    """
    low, high = merges, merges + 1
    while low and not is_carried(low):
        low, high = low * 9 // 10, low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_carried(middle) else (low, middle)
    return low


def _is_merge(piece: Any) -> bool:
    return piece.type == piece.NORMAL and len(piece.piece) > 1


def _with_merges(proto: Any, num_merges: int) -> bytes:
    """Return the model that has only the first ``num_merges`` merges of ``proto``."""
    smaller = type(proto)()
    smaller.CopyFrom(proto)
    del smaller.pieces[:]
    merges = normal = 0
    for piece in proto.pieces:
        merges += _is_merge(piece)
        if _is_merge(piece) and merges > num_merges:
            continue
        kept = smaller.pieces.add()
        kept.CopyFrom(piece)
        if piece.type == piece.NORMAL:
            kept.score = -float(normal)
            normal += 1
    smaller.trainer_spec.vocab_size = len(smaller.pieces)
    return bytes(smaller.SerializeToString())


def _is_carried(model: bytes, words: list[str]) -> bool:
    """Return whether ``words`` are cut into enough of the pieces; single bytes do not count."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    used = {index for ids in processor.encode(words) for index in ids}
    pieces = parse_model(model).pieces
    merges = {index for index, piece in enumerate(pieces) if _is_merge(piece)}
    size = sum(piece.type != piece.BYTE for piece in pieces)
    return len(used) >= MIN_USED_SHARE * size or len(used & merges) >= MIN_USED_MERGES * len(merges)


# --- files ----------------------------------------------------------------------------------------


def _check_outputs(config: TokenizerConfig) -> None:
    """Refuse a base folder, and a tokenizer that other settings made."""
    for suffix in (".model", ".vocab", ".json"):
        check_output(config.output(suffix))
    model, identity = config.output(".model"), config.output(".json")
    if config.overwrite or not model.exists():
        return
    made_by = read_json(identity).get("settings") if identity.is_file() else None
    if made_by != _settings(config):
        raise TokenizerError(
            f"{model} was made with other settings",
            where="--output-prefix",
            fix="choose another prefix, or give --overwrite to replace it",
        )


def _settings(config: TokenizerConfig) -> dict[str, Any]:
    """Return what decides the content: the configuration without where it is written."""
    settings = to_mapping(config)
    settings["extend"] = sha256_file(config.extend) if config.extend else None
    return {k: v for k, v in settings.items() if k not in ("output_prefix", "overwrite")}


def _write(model: bytes, corpus: _Corpus, report: TokenizerReport, config: TokenizerConfig) -> None:
    proto = parse_model(model)
    rows = (f"{piece.piece}\t{piece.score:g}\n" for piece in proto.pieces)
    identity = {
        "format_version": FORMAT_VERSION,
        "sha256": report.sha256,
        "vocab_size": report.vocab_size,
        "languages": list(report.languages),
        "front_end": {code or "": front_end_identity(code) for code in corpus.num_texts},
        "settings": _settings(config),
        "corpus": {
            "texts": {code or "": count for code, count in corpus.num_texts.items()},
            "characters": report.coverage.num_chars,
            "tokens": report.coverage.num_tokens,
            "unknown_tokens": report.coverage.num_unknown,
            "pieces_used": report.coverage.num_pieces - len(report.coverage.unused),
        },
    }
    with atomic_path(config.output(".model")) as partial:
        partial.write_bytes(model)
    write_text(config.output(".vocab"), "".join(rows))
    write_json(config.output(".json"), identity)
    get_logger().debug("wrote %s", config.output(".model"))
