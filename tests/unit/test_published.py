import shutil
from pathlib import Path

import pytest

from idiolect.base.errors import CheckpointError
from idiolect.models.loading import load_codec
from idiolect.models.published import AUXILIARIES, locate_base


@pytest.fixture(autouse=True)
def _own_hub_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))


@pytest.fixture
def files(nano_base):
    return locate_base(nano_base)


@pytest.fixture
def base_without_cache(nano_base, tmp_path) -> Path:
    folder = tmp_path / "base"
    shutil.copytree(nano_base, folder, ignore=shutil.ignore_patterns("hf_cache"))
    return folder


def put_in_hub_layout(nano_base: Path, cache: Path) -> None:
    for auxiliary in AUXILIARIES:
        repo_dir = cache / f"models--{auxiliary.repo.replace('/', '--')}"
        for file in auxiliary.files:
            target = repo_dir / "snapshots" / "abc123" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(nano_base / "hf_cache" / auxiliary.local_path(file), target)


def test_everything_of_a_base_is_found(nano_base, files):
    assert files.gpt == nano_base / "gpt.pth"
    assert files.tokenizer == nano_base / "bpe.model"
    assert files.codec == nano_base / "hf_cache" / "semantic_codec_model.safetensors"
    assert files.vocoder_dir == nano_base / "hf_cache" / "bigvgan"
    assert files.qwen_dir is None


def test_everything_that_is_missing_is_listed_at_once(tmp_path):
    (tmp_path / "checkpoints").mkdir()

    with pytest.raises(CheckpointError, match="lacks 11 files") as caught:
        locate_base(tmp_path / "checkpoints")

    for name in ("config.yaml", "gpt.pth", "s2mel.pth", "bpe.model", "feat1.pt", "w2v-bert-2.0"):
        assert name in caught.value.problem
    assert "idiolect download" in caught.value.fix


@pytest.mark.parametrize("where", ["hf_cache", "hub", "aux"])
def test_models_of_others_are_found_in_the_layout_of_the_hub(
    nano_base, base_without_cache, tmp_path, where
):
    roots = {
        "hf_cache": base_without_cache / "hf_cache",
        "hub": tmp_path / "hf_home" / "hub",
        "aux": tmp_path / "aux",
    }
    put_in_hub_layout(nano_base, roots[where])

    files = locate_base(base_without_cache, aux_dir=tmp_path / "aux")

    snapshot = "models--amphion--MaskGCT/snapshots/abc123/semantic_codec/model.safetensors"
    assert files.codec == roots[where] / snapshot
    assert (files.semantic_dir / "config.json").is_file()
    load_codec(files)


def test_models_of_others_are_found_in_a_folder_of_their_own(nano_base, base_without_cache):
    files = locate_base(base_without_cache, aux_dir=nano_base / "hf_cache")

    assert files.speaker == nano_base / "hf_cache" / "campplus_cn_common.bin"


def test_half_a_folder_of_another_model_does_not_count(nano_base, base_without_cache):
    shutil.copytree(nano_base / "hf_cache", base_without_cache / "hf_cache")
    (base_without_cache / "hf_cache" / "bigvgan" / "config.json").unlink()

    with pytest.raises(CheckpointError, match=r"lacks 1 file\n  bigvgan"):
        locate_base(base_without_cache)


def test_of_a_path_in_the_configuration_only_the_name_counts(nano_base, tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(nano_base, folder)
    config = (folder / "config.yaml").read_text("utf-8")
    config = config.replace("qwen_emo_path: qwen", "qwen_emo_path: /home/author/qwen")
    config = config.replace("gpt_checkpoint: gpt", "gpt_checkpoint: /home/author/gpt")
    (folder / "config.yaml").write_text(config, "utf-8")
    (folder / "qwen0.6bemo4-merge").mkdir()
    (folder / "qwen0.6bemo4-merge" / "config.json").write_text("{}")

    files = locate_base(folder)

    assert files.gpt == folder / "gpt.pth"
    assert files.qwen_dir == folder / "qwen0.6bemo4-merge"


def test_another_gpt_may_be_started_from(nano_base, tmp_path):
    shutil.copyfile(nano_base / "gpt.pth", tmp_path / "mine.pth")

    assert locate_base(nano_base, gpt=tmp_path / "mine.pth").gpt == tmp_path / "mine.pth"
    with pytest.raises(CheckpointError, match=r"absent\.pth"):
        locate_base(nano_base, gpt=tmp_path / "absent.pth")
