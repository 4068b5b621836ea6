"""Models swapped while others speak: who gets which, what stays, what is freed, what is refused."""

from __future__ import annotations

import os
import pickle
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from threading import Event, Thread

import pytest
import torch

from clips import write_clip
from idiolect.base.errors import CheckpointError, RegistryError, SynthesisError
from idiolect.models.checkpoint import load_checkpoint, save_checkpoint
from idiolect.models.memory import request_bytes, stack_bytes
from idiolect.models.published import BaseFiles, locate_base
from idiolect.synthesis.swap import ModelSlot
from idiolect.synthesis.turns import Turns
from registry_kit import make_tokenizer, trained_checkpoint

NAMES = ("catalan", "breton", "corsican")
TEXT = "Bon dia."
BRIEF = {"max_mel_tokens": 6, "num_beams": 1}
WAIT_SEC = 60.0


def install(folder: Path, base: Path, name: str, *, seed: int) -> Path:
    """Install a model of its own weights and its own tokenizer."""
    folder.mkdir(exist_ok=True)
    tokenizer = make_tokenizer(folder / f"{name}_bpe.model", vocab_size=50 + 5 * seed)
    path = trained_checkpoint(folder / f"gpt_{name}.pth", base, tokenizer)
    weights, header = load_checkpoint(path)
    noise = torch.Generator().manual_seed(seed)
    moved = {
        key: tensor + 0.05 * torch.randn(tensor.shape, generator=noise).to(tensor.dtype)
        for key, tensor in weights.items()
    }
    save_checkpoint(path, moved, header)
    return path


@pytest.fixture(scope="module")
def shelf(nano_base, tmp_path_factory) -> Path:
    """Three models; never written to."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(NAMES, start=1):
        install(folder, nano_base, name, seed=seed)
    return folder


@pytest.fixture
def models_dir(shelf, tmp_path) -> Path:
    """The three models, in a folder of the test."""
    return Path(shutil.copytree(shelf, tmp_path / "models"))


@pytest.fixture(scope="module")
def files(nano_base) -> BaseFiles:
    return locate_base(nano_base)


@pytest.fixture
def prompt(tmp_path) -> Path:
    return write_clip(tmp_path / "voice.wav", seconds=0.4, seed=1)


def codes_of(slot: ModelSlot, name: str, prompt: Path, seed: int = 1, text: str = TEXT) -> list:
    heard: list[torch.Tensor] = []
    with slot.leased(name, "cpu") as voice:
        voice.infer(prompt, text, seed=seed, language="ca", on_codes=heard.append, **BRIEF)
    return [codes.tolist() for codes in heard]


def loaded(slot: ModelSlot) -> list[str]:
    return [model.name for model in slot.status().models]


# --- who gets which -------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_of_many_requests_gets_the_model_that_it_names_while_others_swap(files, shelf, prompt):
    slot = ModelSlot(files, shelf)
    asked = [(name, seed) for seed in range(2) for name in ("base", *NAMES)]
    alone = {(name, seed): codes_of(slot, name, prompt, seed) for name, seed in asked}
    assert len({str(codes) for codes in alone.values()}) == len(asked), "they must tell apart"

    with ThreadPoolExecutor(5) as pool:
        swaps = [pool.submit(slot.load, name, "cpu") for name in islice(cycle(NAMES), 8)]
        said = [
            (request, pool.submit(codes_of, slot, request[0], prompt, request[1]))
            for request in asked * 2
        ]
        for swap in swaps:
            swap.result(WAIT_SEC)
        together = [(request, codes.result(WAIT_SEC)) for request, codes in said]

    for request, codes in together:
        assert codes == alone[request], request
    assert not any(model.leases for model in slot.status().models)
    assert len(loaded(slot)) == 1


def test_a_stream_ends_with_the_weights_it_began_with_though_they_are_dropped(files, shelf, prompt):
    slot = ModelSlot(files, shelf)
    text = "Bon dia. " * 12
    cut = {"language": "ca", "seed": 1, "max_text_tokens_per_segment": 30, **BRIEF}
    with slot.leased("catalan", "cpu") as voice:
        alone = list(voice.infer(prompt, text, stream_return=True, **cut))

    with slot.leased("catalan", "cpu") as voice:
        stream = voice.infer(prompt, text, stream_return=True, **cut)
        begun = [next(stream)]
        slot.unload()
        slot.load("breton", "cpu")
        swapped = [*begun, *stream]

    assert len(alone) > 2
    assert len(swapped) == len(alone)
    assert all(map(torch.equal, swapped, alone))


def test_models_share_one_frozen_stack(files, shelf):
    slot = ModelSlot(files, shelf)

    with slot.leased("catalan", "cpu") as one, slot.leased("breton", "cpu") as other:
        assert one.stack is other.stack
        assert one.model.tokenizer.vocab_size != other.model.tokenizer.vocab_size


def test_many_who_want_one_model_load_it_once(files, shelf):
    slot = ModelSlot(files, shelf)

    with ThreadPoolExecutor(6) as pool:
        models = list(pool.map(lambda _: slot.load("catalan", "cpu"), range(6)))

    assert len(set(map(id, models))) == 1


def test_a_model_is_one_whatever_it_is_called(files, shelf):
    slot = ModelSlot(files, shelf)

    assert slot.load("gpt_catalan.pth", "cpu") is slot.load("catalan", "cpu")


def test_weights_that_were_replaced_are_a_new_model(files, models_dir, prompt):
    slot = ModelSlot(files, models_dir)
    former = codes_of(slot, "catalan", prompt)
    path = models_dir / "gpt_catalan.pth"
    weights, header = load_checkpoint(path)
    weights["mel_head.weight"] += torch.randn(weights["mel_head.weight"].shape)
    save_checkpoint(path, weights, header)

    assert codes_of(slot, "catalan", prompt) != former
    assert loaded(slot) == ["catalan"]


def test_a_voice_that_was_given_back_says_so(files, shelf, prompt):
    with ModelSlot(files, shelf).leased("catalan", "cpu") as voice:
        pass

    with pytest.raises(SynthesisError, match="was given back"):
        voice.infer(prompt, TEXT)


# --- what stays, what is freed --------------------------------------------------------------------


def test_the_models_that_were_asked_for_last_stay(files, shelf):
    slot = ModelSlot(files, shelf, keep_loaded=2)

    for name in ("catalan", "breton", "catalan", "corsican"):
        slot.load(name, "cpu")

    assert loaded(slot) == ["corsican", "catalan"]


def test_a_model_that_is_lent_is_not_dropped_for_another(files, shelf):
    slot = ModelSlot(files, shelf)

    with slot.leased("catalan", "cpu"):
        slot.load("breton", "cpu")
        slot.load("corsican", "cpu")
        assert loaded(slot) == ["corsican", "catalan"]

    assert loaded(slot) == ["corsican"], "the one that was chosen last stays"


def test_what_is_unloaded_is_freed(files, shelf):
    slot = ModelSlot(files, shelf)
    with slot.leased("catalan", "cpu") as voice:
        gpt, stack = weakref.ref(voice.model.gpt), weakref.ref(voice.stack)

    slot.unload("catalan")
    assert gpt() is None
    assert stack() is not None

    slot.unload()
    assert stack() is None
    assert slot.status().num_bytes == 0


def test_what_is_unloaded_while_it_speaks_is_freed_when_it_ends(files, shelf, prompt):
    slot = ModelSlot(files, shelf)
    with slot.leased("catalan", "cpu") as voice:
        gpt = weakref.ref(voice.model.gpt)
        slot.unload()
        assert loaded(slot) == []
        assert voice.infer(prompt, TEXT, seed=1, language="ca", **BRIEF)[1].any()

    assert gpt() is None


def test_the_status_counts_bytes_of_tensors_and_leases(files, shelf):
    slot = ModelSlot(files, shelf)

    with slot.leased("catalan", "cpu") as voice, slot.leased("catalan", "cpu"):
        expected = sum(tensor.nbytes for tensor in voice.model.gpt.state_dict().values())
        [model] = slot.status().models
        [stack] = slot.status().stacks

    assert (model.num_bytes, model.leases, model.times_leased) == (expected, 2, 2)
    assert (model.tokenizer, model.vocab_size, model.device) == ("catalan_bpe.model", 55, "cpu")
    assert slot.status().num_bytes == model.num_bytes + stack.num_bytes
    assert slot.status().models[0].leases == 0


# --- memory for one model only --------------------------------------------------------------------


def with_room_for(models: int, files: BaseFiles, models_dir: Path, **options) -> ModelSlot:
    """A slot on a device with room for the frozen stack, a request, and so many models."""
    measured = ModelSlot(files, models_dir, keep_loaded=9)
    largest = max(measured.load(name, "cpu").num_bytes for name in NAMES)
    stack = max(measured.status().stacks[0].num_bytes, stack_bytes(files))
    total = stack + request_bytes(files) + int((models + 0.5) * largest)
    slot = ModelSlot(
        files, models_dir, free_bytes=lambda _: total - slot.status().num_bytes, **options
    )
    return slot


def test_without_room_for_two_the_former_model_goes_first(files, shelf, prompt):
    slot = with_room_for(1, files, shelf, keep_loaded=3)
    codes = codes_of(slot, "catalan", prompt)

    slot.load("breton", "cpu")
    assert loaded(slot) == ["breton"]
    assert codes_of(slot, "catalan", prompt) == codes


def test_with_room_for_two_the_former_model_stays_until_the_other_is_there(files, shelf):
    slot = with_room_for(2, files, shelf, keep_loaded=3)

    slot.load("catalan", "cpu")
    slot.load("breton", "cpu")

    assert loaded(slot) == ["breton", "catalan"]


def test_a_model_that_made_room_for_one_that_fails_is_put_back(files, models_dir, prompt):
    slot = with_room_for(1, files, models_dir)
    codes = codes_of(slot, "catalan", prompt)
    lacks_a_tensor(models_dir / "gpt_breton.pth")

    with pytest.raises(CheckpointError, match="do not fit UnifiedVoice"):
        slot.load("breton", "cpu")

    assert loaded(slot) == ["catalan"]
    assert codes_of(slot, "catalan", prompt) == codes


def lacks_a_tensor(path: Path) -> None:
    weights, header = load_checkpoint(path)
    del weights["mel_head.bias"]
    save_checkpoint(path, weights, header)


def test_a_load_without_room_waits_for_the_request_that_has_it(files, shelf):
    slot = with_room_for(1, files, shelf)
    is_lent, may_end = Event(), Event()

    def speak() -> None:
        with slot.leased("catalan", "cpu"):
            is_lent.set()
            assert may_end.wait(WAIT_SEC)

    speaker = Thread(target=speak)
    speaker.start()
    assert is_lent.wait(WAIT_SEC)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(slot.load, "breton", "cpu")
        with pytest.raises(TimeoutError):
            other.result(0.5)
        may_end.set()
        assert other.result(WAIT_SEC).name == "breton"
    speaker.join(WAIT_SEC)
    assert loaded(slot) == ["breton"]


def test_who_holds_the_room_does_not_wait_for_itself(files, shelf):
    slot = with_room_for(1, files, shelf)

    with (
        slot.leased("catalan", "cpu"),
        pytest.raises(SynthesisError, match="no room for breton on cpu: it takes") as caught,
    ):
        slot.load("breton", "cpu")

    assert "unload other models" in caught.value.fix
    assert loaded(slot) == ["catalan"]


# --- what is refused ------------------------------------------------------------------------------


def is_cut_short(models_dir: Path) -> None:
    path = models_dir / "gpt_breton.pth"
    path.write_bytes(path.read_bytes()[:-50_000])


def has_the_tokenizer_of_another(models_dir: Path) -> None:
    shutil.copyfile(models_dir / "catalan_bpe.model", models_dir / "breton_bpe.model")


class _Trap:
    """Touches a file when it is unpickled by something that executes."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def holds_code(models_dir: Path) -> None:
    torch.save({"model": _Trap(models_dir / "executed")}, models_dir / "gpt_breton.pth")


def is_a_bare_pickle(models_dir: Path) -> None:
    content = pickle.dumps(_Trap(models_dir / "executed"), protocol=2)
    (models_dir / "gpt_breton.pth").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "kind", "reason"),
    [
        (is_cut_short, CheckpointError, "only half of one"),
        (has_the_tokenizer_of_another, RegistryError, "was trained with the tokenizer"),
        (holds_code, CheckpointError, "it asks for posix.mkdir"),
        (is_a_bare_pickle, CheckpointError, "not a file of weights"),
    ],
)
def test_a_bad_model_is_refused_and_the_former_one_goes_on_speaking(
    files, models_dir, prompt, damage, kind, reason
):
    slot = ModelSlot(files, models_dir)
    codes = codes_of(slot, "catalan", prompt)
    damage(models_dir)

    with pytest.raises(kind, match=reason):
        slot.load("breton", "cpu")
    with pytest.raises(kind, match=reason), slot.leased("breton", "cpu"):
        pytest.fail("it was lent")

    assert not (models_dir / "executed").exists()
    assert loaded(slot) == ["catalan"]
    assert codes_of(slot, "catalan", prompt) == codes


def test_an_unknown_model_is_named(files, shelf):
    with pytest.raises(RegistryError, match="'occitan' is not installed"):
        ModelSlot(files, shelf).load("occitan", "cpu")


def test_a_device_that_is_not_there_is_refused(files, shelf):
    with pytest.raises(SynthesisError, match="the device tpu9 cannot be used"):
        ModelSlot(files, shelf).load("catalan", "tpu9")


# --- turns ----------------------------------------------------------------------------------------


def test_turns_come_in_the_order_of_asking():
    turns, served = Turns(), []
    is_mine, threads = Event(), []

    def ask(number: int) -> None:
        with turns.one():
            served.append(number)

    with turns.one():
        for number in range(8):
            threads.append(Thread(target=ask, args=(number,)))
            threads[-1].start()
            while turns.num_waiting <= number:
                is_mine.wait(0.001)
    for thread in threads:
        thread.join(WAIT_SEC)

    assert served == list(range(8))
    assert turns.num_waiting == 0


def test_a_turn_that_fails_is_handed_on():
    turns = Turns()

    with pytest.raises(RuntimeError), turns.one():
        raise RuntimeError

    with turns.one():
        assert turns.num_waiting == 0
