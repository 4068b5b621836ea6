import os
from pathlib import Path

import pytest

from idiolect.base.errors import GuardError
from idiolect.base.files import atomic_path, copy_file, write_json, write_jsonl, write_text
from idiolect.base.guard import base_dir_of, check_output, is_base_dir, making_base
from idiolect.base.snapshot import BaseSnapshot


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A working directory with the guide's tree in it."""
    for name in ("gpt.pth", "s2mel.pth", "config.yaml", "hf_cache/codec.safetensors"):
        path = tmp_path / "project" / "checkpoints" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("checkpoints", id="the folder itself"),
        pytest.param("checkpoints/", id="with a slash"),
        pytest.param("./checkpoints/gpt.pth", id="a file that is there"),
        pytest.param("checkpoints/new/deep/model.pth", id="a file that is not there"),
        pytest.param("checkpoints/hf_cache", id="a folder within"),
        pytest.param("../project/checkpoints/x", id="by way of the parent"),
        pytest.param("training/../checkpoints/x", id="by way of a folder that is not there"),
    ],
)
def test_no_way_of_writing_the_base_gets_past(project, path):
    with pytest.raises(GuardError, match="base folder") as caught:
        check_output(Path(path))

    assert "training/" in caught.value.fix


def test_an_absolute_path_to_the_base_is_refused(project):
    with pytest.raises(GuardError):
        check_output(project / "checkpoints" / "x.pth")


def test_a_symlink_to_the_base_is_refused(project):
    Path("innocent").symlink_to("checkpoints")
    Path("file.pth").symlink_to("checkpoints/gpt.pth")

    for path in ("innocent", "innocent/model.pth", "file.pth"):
        with pytest.raises(GuardError):
            check_output(Path(path))


def test_a_base_that_is_a_symlink_elsewhere_is_refused_by_both_names(project, tmp_path):
    Path("checkpoints").rename(tmp_path / "on_a_big_disk")
    Path("checkpoints").symlink_to(tmp_path / "on_a_big_disk")

    for path in (Path("checkpoints/x"), tmp_path / "on_a_big_disk" / "x"):
        with pytest.raises(GuardError):
            check_output(path)


def test_a_hard_link_to_a_file_of_the_base_is_refused(project):
    os.link("checkpoints/gpt.pth", "latest.pth")

    with pytest.raises(GuardError):
        check_output(Path("latest.pth"))


def test_a_base_under_another_name_is_known_by_its_files(project, tmp_path):
    Path("checkpoints").rename("IndexTTS-2")

    assert is_base_dir(project / "IndexTTS-2")
    with pytest.raises(GuardError):
        check_output(Path("IndexTTS-2/gpt.pth"))


def test_the_guides_folder_is_guarded_before_anything_is_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(GuardError):
        check_output(Path("checkpoints"))


@pytest.mark.parametrize(
    "path", ["training/catalan/checkpoints/model_step1.pth", "models/gpt_ca.pth", "x.wav"]
)
def test_other_places_may_be_written_to(project, path):
    assert check_output(Path(path)) == Path(path)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda path: write_text(path, "x"), id="text"),
        pytest.param(lambda path: write_json(path, {}), id="json"),
        pytest.param(lambda path: write_jsonl(path, [{}]), id="jsonl"),
        pytest.param(lambda path: copy_file(Path("checkpoints/config.yaml"), path), id="copy"),
    ],
)
def test_everything_that_writes_asks_first(project, write):
    with pytest.raises(GuardError):
        write(Path("checkpoints/gpt.pth"))

    assert Path("checkpoints/gpt.pth").read_text() == "gpt.pth"
    assert len(list(Path("checkpoints").iterdir())) == 4


def test_a_base_may_be_written_to_only_while_it_is_made(project, tmp_path):
    with making_base(tmp_path / "new"), atomic_path(tmp_path / "new" / "gpt.pth") as partial:
        partial.write_text("x")
    with making_base(Path("checkpoints")):
        check_output(Path("checkpoints/gpt.pth"))
        (tmp_path / "new" / "s2mel.pth").write_text("x")
        with pytest.raises(GuardError):
            check_output(tmp_path / "new" / "gpt.pth")

    with pytest.raises(GuardError):
        check_output(Path("checkpoints/gpt.pth"))


def test_the_base_of_a_path_is_found_from_deep_below(project):
    assert base_dir_of(project / "checkpoints" / "a" / "b") == project / "checkpoints"
    assert base_dir_of(project / "models") is None


def test_an_unchanged_base_is_said_to_be_so(project):
    snapshot = BaseSnapshot.take(Path("checkpoints"))

    assert snapshot.verify() == f"base unchanged: 4 files in {project / 'checkpoints'}"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(lambda: Path("checkpoints/gpt.pth").write_text("y"), "gpt.pth", id="changed"),
        pytest.param(lambda: Path("checkpoints/s2mel.pth").unlink(), "s2mel.pth", id="removed"),
        pytest.param(lambda: Path("checkpoints/hf_cache/n").touch(), "hf_cache/n", id="added"),
    ],
)
def test_a_changed_base_is_reported_by_file(project, change, named):
    snapshot = BaseSnapshot.take(Path("checkpoints"))

    change()

    with pytest.raises(GuardError, match=named):
        snapshot.verify()
