import io
import os
import pickle
from pathlib import Path

import pytest
import torch

from idiolect.base.errors import CheckpointError, GuardError
from idiolect.models.checkpoint import (
    CheckpointHeader,
    Speller,
    load_checkpoint,
    load_tensors,
    load_weights,
    read_header,
    save_checkpoint,
    shape_differences,
    transfer_vocabulary,
    weights_digest,
)

HEADER = CheckpointHeader(
    step=7,
    epoch=2,
    vocab_size=5,
    languages=("ca",),
    front_end={"ca": "idiolect-text/1:ca"},
    scores={"val_loss": 1.5},
    data={"clips": 12, "manifests": ["train.jsonl"]},
)


class Pieces:
    """A tokenizer as far as a transfer looks at it."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = ["<s>", "</s>", "<unk>", *pieces]
        self.path = Path("pieces.model")
        self.vocab_size = len(self.pieces)

    def all_pieces(self) -> list[str]:
        return self.pieces


def text_weights(tokenizer: Pieces, dim: int = 4) -> dict[str, torch.Tensor]:
    rows = tokenizer.vocab_size + 1
    generator = torch.Generator().manual_seed(rows)
    return {
        "text_embedding.weight": torch.randn(rows, dim, generator=generator),
        "text_head.weight": torch.randn(rows, dim, generator=generator),
        "text_head.bias": torch.randn(rows, generator=generator),
        "mel_head.bias": torch.randn(3, generator=generator),
    }


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


def test_what_was_saved_is_what_is_loaded(tmp_path):
    weights = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(1, dtype=torch.bfloat16)}

    save_checkpoint(tmp_path / "m.pth", weights, HEADER)
    loaded, header = load_checkpoint(tmp_path / "m.pth")

    assert header == HEADER
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.items())


def test_a_saved_checkpoint_is_read_by_plain_torch(tmp_path):
    save_checkpoint(tmp_path / "m.pth", {"a": torch.ones(2)}, HEADER)

    content = torch.load(tmp_path / "m.pth", weights_only=True)  # noqa: TID251 -- the test is that it can

    assert content["model"]["a"].tolist() == [1, 1]
    assert content["header"]["languages"] == ["ca"]


def test_equal_content_gives_equal_bytes_under_another_name(tmp_path):
    save_checkpoint(tmp_path / "a.pth", {"a": torch.ones(2)}, HEADER)
    save_checkpoint(tmp_path / "b.pth", {"a": torch.ones(2)}, HEADER)

    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_a_view_is_saved_without_what_it_looks_into(tmp_path):
    save_checkpoint(tmp_path / "m.pth", {"a": torch.zeros(1_000_000)[:3]}, HEADER)

    assert (tmp_path / "m.pth").stat().st_size < 10_000


def test_a_published_file_is_a_checkpoint_without_header(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "flat.pth")
    torch.save({"model": {"a": torch.ones(1)}, "step": 3}, tmp_path / "nested.pth")

    for name in ("flat.pth", "nested.pth"):
        weights, header = load_checkpoint(tmp_path / name)
        assert list(weights) == ["a"]
        assert header is None


def test_the_outline_tells_shapes_header_and_bytes(tmp_path):
    save_checkpoint(tmp_path / "m.pth", {"text_embedding.weight": torch.zeros(9, 4)}, HEADER)

    outline = read_header(tmp_path / "m.pth")

    assert outline.header == HEADER
    assert outline.shapes == {"text_embedding.weight": (9, 4)}
    assert outline.weight_bytes == 9 * 4 * 4
    assert outline.text_rows == 9


def test_a_crash_while_saving_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "m.pth"
    save_checkpoint(path, {"w": torch.zeros(1)}, HEADER)

    def die_half_way(_, out):
        out.write(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", die_half_way)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, {"w": torch.ones(1)}, HEADER)

    assert load_checkpoint(path)[0]["w"].item() == 0
    assert [p.name for p in tmp_path.iterdir()] == ["m.pth"]


def test_a_checkpoint_is_never_saved_into_a_base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(GuardError, match="base"):
        save_checkpoint(Path("checkpoints/model_step1.pth"), {"w": torch.ones(1)}, HEADER)


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_a_pickle_with_code_is_refused_and_nothing_runs(tmp_path, kind):
    trap, path = tmp_path / "executed", tmp_path / "evil.pth"
    content = {"model": {"w": torch.ones(1)}, "header": Trap(trap)}
    torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")

    with pytest.raises(CheckpointError, match=r"asks for (posix|os)\.system") as caught:
        load_tensors(path)

    assert "nothing was executed" in caught.value.fix
    assert not trap.exists()


def test_a_bare_pickle_is_not_even_opened(tmp_path):
    trap = tmp_path / "executed"
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Trap(trap)))

    with pytest.raises(CheckpointError, match="not a file of weights"):
        load_tensors(tmp_path / "evil.pth")

    assert not trap.exists()


def _truncated() -> bytes:
    whole = io.BytesIO()
    torch.save({"model": {"w": torch.ones(1000)}}, whole)
    return whole.getvalue()[:2000]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_truncated(), id="half a checkpoint"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"PK\x03\x04", id="the beginning of a zip"),
        pytest.param(b"<html>404</html>", id="a page"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", id="an LFS pointer"),
        pytest.param(b"\x80\x02}q\x00.", id="an empty pickle"),
        pytest.param(b"RIFF....WAVEfmt ", id="a sound"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)

    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)

    assert caught.value.where == str(path)
    assert caught.value.fix


def test_a_file_of_something_else_is_no_checkpoint(tmp_path):
    torch.save({"model": {"w": torch.ones(1), "epoch": 3}}, tmp_path / "m.pth")

    with pytest.raises(CheckpointError, match="'epoch' is no tensor"):
        load_checkpoint(tmp_path / "m.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no such file of weights: .*absent\.pth"):
        load_tensors(tmp_path / "absent.pth")


def test_a_header_of_a_newer_program_is_refused(tmp_path):
    header = {"format_version": 99, "unheard_of": 1}
    torch.save({"model": {"w": torch.ones(1)}, "header": header}, tmp_path / "m.pth")

    with pytest.raises(CheckpointError, match="format 99 is newer"):
        load_checkpoint(tmp_path / "m.pth")


def test_differences_name_what_is_missing_other_and_too_much():
    lines = shape_differences({"a": (1,), "b": (2, 3)}, {"b": (2, 4), "c": (1,)})

    assert lines == [
        "a: not in the file",
        "b: [2, 3] expected, [2, 4] in the file",
        "c: not in the network",
    ]


def test_weights_of_another_network_are_refused_with_three_differences(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))

    with pytest.raises(CheckpointError, match="4 differences in 4 tensors") as caught:
        load_weights(module, {}, where="m.pth")

    assert caught.value.problem.count("not in the file") == 3


def test_the_digest_of_weights_tells_any_change_and_nothing_else():
    layer, copy = torch.nn.Linear(300, 300), torch.nn.Linear(300, 300)
    copy.load_state_dict(layer.state_dict())
    assert weights_digest(layer) == weights_digest(copy)
    with torch.no_grad():
        copy.weight[7, 7] += 1e-6
    assert weights_digest(layer) != weights_digest(copy)


def test_rows_follow_their_piece_and_the_last_row_stays_last():
    base, new = Pieces("▁HO", "LA", "X"), Pieces("LA", "▁HOLA", "▁HO", "Ж")
    weights = text_weights(base)

    moved, report = transfer_vocabulary(weights, base, new)

    rows, old = moved["text_embedding.weight"], weights["text_embedding.weight"]
    assert len(rows) == new.vocab_size + 1
    assert torch.equal(rows[:3], old[:3])
    assert torch.equal(rows[3], old[4])
    assert torch.equal(rows[4], old[[3, 4]].mean(0))
    assert torch.equal(rows[5], old[3])
    assert torch.allclose(rows[6], old[:-1].mean(0))
    assert torch.equal(rows[7], old[-1])
    assert torch.equal(moved["mel_head.bias"], weights["mel_head.bias"])
    assert (report.carried, report.composed, report.new) == (5, 1, 1)
    assert report.new_examples == ("Ж",)
    assert "5 rows carried over, 1 composed, 1 new" in report.summary()


def test_weights_of_another_tokenizer_are_not_transferred():
    base = Pieces("A", "B")

    with pytest.raises(CheckpointError, match=r"6 rows, but the tokenizer .* has 4 pieces"):
        transfer_vocabulary(text_weights(base), Pieces("A"), base)


def test_start_and_stop_are_carried_by_id_whatever_they_are_called():
    base, new = Pieces("A"), Pieces("A")
    new.pieces[:2] = ["<start>", "<stop>"]

    moved, report = transfer_vocabulary(text_weights(base), base, new)

    assert report.carried == base.vocab_size
    assert torch.equal(moved["text_head.bias"], text_weights(base)["text_head.bias"])


def test_a_piece_is_spelt_with_as_few_pieces_as_possible():
    speller = Speller(["C", "A", "S", "CA", "SA", "▁CA", "▁ÇA"])
    ids = speller.ids

    assert speller.spell("▁CASA") == [ids["▁CA"], ids["SA"]]
    assert speller.spell("▁CÀS") == [ids["▁CA"], ids["S"]]
    assert speller.spell("CÑA") == [ids["CA"]]
    assert speller.spell("▁SA") == [ids["SA"]]
    assert speller.spell("ÑÑ") == []
    assert speller.spell("▁Ñ") == []
