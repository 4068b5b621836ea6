import shutil
from pathlib import Path

import pytest

from idiolect.base.errors import RegistryError
from idiolect.data.formants import CATALAN_SENTENCES
from idiolect.models.checkpoint import CheckpointHeader, read_header, save_checkpoint
from idiolect.registry.detect import find_tokenizer
from idiolect.text.tokenizer import Tokenizer
from registry_kit import make_tokenizer, plain_weights


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Tokenizer:
    return make_tokenizer(tmp_path_factory.mktemp("a") / "a.model")


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Tokenizer:
    """Another tokenizer of the same size."""
    return make_tokenizer(
        tmp_path_factory.mktemp("b") / "b.model", CATALAN_SENTENCES + CATALAN_SENTENCES[:5]
    )


@pytest.fixture(scope="module")
def smaller(tmp_path_factory) -> Tokenizer:
    return make_tokenizer(tmp_path_factory.mktemp("c") / "c.model", vocab_size=50)


def lay(folder: Path, tokenizer: Tokenizer, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tokenizer.path, folder / name)


def detect(folder: Path, name: str, rows: int, sha256: str = "", **kwargs) -> str:
    """Write a checkpoint; return the name of the tokenizer that is found for it."""
    header = CheckpointHeader(tokenizer_sha256=sha256) if sha256 else None
    save_checkpoint(folder / name, plain_weights(rows), header)
    found = find_tokenizer(folder / name, read_header(folder / name), **kwargs)
    return str(found.path.relative_to(folder))


def test_the_tokenizers_of_these_tests_are_what_they_should_be(tokenizer, other, smaller):
    assert tokenizer.vocab_size == other.vocab_size > smaller.vocab_size
    assert tokenizer.sha256 != other.sha256


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("gpt_catalan_bpe.model", id="option 1"),
        pytest.param("catalan_bpe.model", id="option 2"),
        pytest.param("catalan.model", id="option 2, the name alone"),
        pytest.param("my_catalan_bpe.model", id="option 2, the name within"),
        pytest.param("tokenizers/catalan_bpe.model", id="option 3"),
        pytest.param("tokenizers/gpt_catalan_bpe.model", id="option 3 with option 1"),
    ],
)
def test_each_of_the_guides_names_is_found(tmp_path, tokenizer, name):
    lay(tmp_path, tokenizer, name)

    assert detect(tmp_path, "gpt_catalan.pth", tokenizer.vocab_size + 1) == name


def test_the_options_are_tried_in_the_guides_order(tmp_path, tokenizer):
    names = ["gpt_catalan_bpe.model", "catalan_bpe.model", "tokenizers/catalan_bpe.model"]
    lay(tmp_path, tokenizer, *names)
    rows = tokenizer.vocab_size + 1

    for name in names:
        assert detect(tmp_path, "gpt_catalan.pth", rows) == name
        (tmp_path / name).unlink()


def test_identity_overrules_every_name(tmp_path, tokenizer, other):
    lay(tmp_path, other, "gpt_catalan_bpe.model", "catalan_bpe.model")
    lay(tmp_path, tokenizer, "tokenizers/something_else.model")

    found = detect(tmp_path, "gpt_catalan.pth", tokenizer.vocab_size + 1, tokenizer.sha256)

    assert found == "tokenizers/something_else.model"


def test_a_tokenizer_that_is_not_the_one_of_the_training_is_refused(tmp_path, tokenizer, other):
    lay(tmp_path, other, "catalan_bpe.model")

    with pytest.raises(RegistryError) as caught:
        detect(tmp_path, "gpt_catalan.pth", tokenizer.vocab_size + 1, tokenizer.sha256)

    assert tokenizer.sha256[:12] in caught.value.problem
    assert other.sha256[:12] in caught.value.problem
    assert "catalan_bpe.model" in caught.value.fix


def test_a_model_trained_with_the_bases_tokenizer_uses_it(tmp_path, tokenizer):
    (tmp_path / "models").mkdir()
    lay(tmp_path, tokenizer, "bpe.model")
    save_checkpoint(
        tmp_path / "models" / "gpt_ca.pth",
        plain_weights(tokenizer.vocab_size + 1),
        CheckpointHeader(tokenizer_sha256=tokenizer.sha256),
    )
    path = tmp_path / "models" / "gpt_ca.pth"

    found = find_tokenizer(path, read_header(path), base_tokenizer=tmp_path / "bpe.model")

    assert found.path == tmp_path / "bpe.model"


def test_a_short_name_does_not_take_the_tokenizer_of_a_longer_one(tmp_path, tokenizer):
    lay(tmp_path, tokenizer, "catalan_bpe.model", "tokenizers/catalan_bpe.model")

    with pytest.raises(RegistryError, match=r"no tokenizer for gpt_ca\.pth"):
        detect(tmp_path, "gpt_ca.pth", tokenizer.vocab_size + 1)


def test_a_model_does_not_take_the_tokenizer_of_another_model(tmp_path, tokenizer):
    lay(tmp_path, tokenizer, "catalan_valencia_bpe.model")
    save_checkpoint(tmp_path / "gpt_catalan_valencia.pth", plain_weights(2), None)

    with pytest.raises(RegistryError, match=r"no tokenizer for gpt_catalan\.pth"):
        detect(tmp_path, "gpt_catalan.pth", tokenizer.vocab_size + 1)


def test_a_long_name_does_not_take_the_tokenizer_of_a_shorter_one(tmp_path, tokenizer):
    lay(tmp_path, tokenizer, "multilingual_bpe.model")

    with pytest.raises(RegistryError, match="no tokenizer"):
        detect(tmp_path, "gpt_multilingual_romance.pth", tokenizer.vocab_size + 1)


def test_several_that_fit_are_an_error_with_the_candidates(tmp_path, tokenizer, other):
    lay(tmp_path, tokenizer, "catalan_old.model")
    lay(tmp_path, other, "catalan_new.model")

    with pytest.raises(RegistryError, match=r"several .*catalan_new\.model.*catalan_old\.model"):
        detect(tmp_path, "gpt_catalan.pth", tokenizer.vocab_size + 1)


def test_of_several_the_one_that_fits_the_weights_is_taken(tmp_path, tokenizer, smaller):
    lay(tmp_path, tokenizer, "catalan_old.model")
    lay(tmp_path, smaller, "catalan_new.model")

    assert detect(tmp_path, "gpt_catalan.pth", smaller.vocab_size + 1) == "catalan_new.model"


def test_a_tokenizer_of_another_size_is_refused_with_both_sizes(tmp_path, tokenizer):
    lay(tmp_path, tokenizer, "catalan_bpe.model")

    with pytest.raises(RegistryError, match=r"one of 999 pieces; catalan_bpe\.model has \d+"):
        detect(tmp_path, "gpt_catalan.pth", 1000)


def test_a_damaged_tokenizer_is_no_tokenizer(tmp_path):
    (tmp_path / "catalan_bpe.model").write_bytes(b"not one")

    with pytest.raises(RegistryError, match=r"catalan_bpe\.model has no pieces"):
        detect(tmp_path, "gpt_catalan.pth", 61)


def test_the_tokenizer_of_a_run_is_found_beside_its_checkpoints(tmp_path, tokenizer):
    lay(tmp_path / "catalan" / "tokenizer", tokenizer, "catalan_bpe.model")
    path = tmp_path / "catalan" / "checkpoints" / "best.pth"
    header = CheckpointHeader(tokenizer_sha256=tokenizer.sha256)
    path.parent.mkdir()
    save_checkpoint(path, plain_weights(tokenizer.vocab_size + 1), header)

    found = find_tokenizer(path, read_header(path))

    assert found.path.parent.name == "tokenizer"
