import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hub_kit import TOKEN, LocalHub, running_hub
from idiolect.base.errors import RegistryError, UserError
from idiolect.cli.models import main
from idiolect.models.checkpoint import load_checkpoint, save_checkpoint
from idiolect.models.published import locate_base
from idiolect.models.safe_file import save_safe
from idiolect.models.terms import NANO_NOTICE
from idiolect.registry.catalogue import Catalogue
from idiolect.registry.change import set_notes
from idiolect.registry.hub import PullConfig, PushConfig, pull_model, push_model
from idiolect.registry.install import InstallConfig, install_model
from idiolect.registry.store import find_model, verify_model
from registry_kit import make_tokenizer, trained_checkpoint

REPO = "marta/catalan"
# The hub's library uploads in a way that its HTTP library would like otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    # Its other way of uploading needs a second service.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with running_hub() as running:
        yield running


@pytest.fixture(scope="module")
def made(nano_base, tmp_path_factory) -> Path:
    """A folder with one installed model."""
    folder = tmp_path_factory.mktemp("made")
    tokenizer = make_tokenizer(folder / "ca_bpe.model")
    path = trained_checkpoint(folder / "best.pth", nano_base, tokenizer)
    weights, header = load_checkpoint(path)
    settings = {"train_manifest": "/home/marta/private/train.jsonl", "lr": 0.1}
    save_checkpoint(path, weights, replace(header, settings=settings))
    install_model(
        InstallConfig(
            checkpoint=path,
            tokenizer=tokenizer.path,
            output_name="catalan",
            description="Catalan, from Girona",
            output_dir=folder / "models",
            base=nano_base,
        )
    )
    (folder / "models" / "LICENSE.txt").write_text("the terms")
    return folder / "models"


@pytest.fixture
def catalogue(made, nano_base, tmp_path) -> Catalogue:
    return Catalogue(shutil.copytree(made, tmp_path / "models"), locate_base(nano_base))


def config_for(hub: LocalHub, folder: Path, base: Path, **changes) -> PullConfig:
    return PullConfig(endpoint=hub.url, model_dir=folder, base=base, **changes)


def test_what_is_pushed_and_pulled_is_the_same_model(hub, catalogue, nano_base, tmp_path):
    pushed = push_model("catalan", REPO, catalogue, PushConfig(endpoint=hub.url))
    there = tmp_path / "there"

    pulled = pull_model(REPO, config_for(hub, there, nano_base))

    assert pulled.origin == f"{REPO}@{pushed.commit}"
    sent, header = load_checkpoint(catalogue.model_dir / "gpt_catalan.pth")
    come, same = load_checkpoint(there / "gpt_catalan.pth")
    assert sent.keys() == come.keys()
    assert all((sent[name] == come[name]).all() for name in sent)
    assert same.tokenizer_sha256 == header.tokenizer_sha256
    assert verify_model("catalan", there) == []
    (entry,) = Catalogue(there, locate_base(nano_base)).models()
    assert (entry.origin, entry.description) == (pulled.origin, "Catalan, from Girona")
    assert entry.scores == {"val_loss": 3.25}
    assert find_model("catalan", there, nano_base).languages == ("ca",)
    assert (there / "LICENSE.txt").read_text() == "the terms"
    assert not (there / ".pull").exists()


def test_the_repository_has_card_and_licence_and_nothing_of_the_machine(hub, catalogue):
    set_notes("catalan", "too slow on Mondays", catalogue)

    push_model("catalan", REPO, catalogue, PushConfig(endpoint=hub.url))

    files = hub.files(REPO, "main")
    card = files["README.md"].decode()
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: idiolect\n")
    assert NANO_NOTICE in card
    assert "language:\n- ca" in card
    assert files["LICENSE.txt"] == b"the terms"
    assert not [name for name in files if name.endswith(".pth")]
    everything = b"".join(files.values())
    assert b"/home/marta" not in everything
    assert b"train.jsonl" in everything  # its name stays
    assert b"Mondays" not in everything


def test_a_commit_that_was_named_is_what_is_pulled(hub, catalogue, nano_base, tmp_path):
    first = push_model("catalan", REPO, catalogue, PushConfig(endpoint=hub.url))
    second = push_model("catalan", REPO, catalogue, PushConfig(endpoint=hub.url, precision="bf16"))
    assert first.commit != second.commit

    pulled = pull_model(REPO, config_for(hub, tmp_path / "a", nano_base, revision=first.commit))
    newest = pull_model(REPO, config_for(hub, tmp_path / "b", nano_base))

    assert pulled.origin.endswith(first.commit)
    assert newest.origin.endswith(second.commit)
    sizes = [(tmp_path / each / "gpt_catalan.pth").stat().st_size for each in "ab"]
    assert sizes[1] < 0.6 * sizes[0]


def test_a_branch_is_made_and_pulled(hub, catalogue, nano_base, tmp_path):
    push_model("catalan", REPO, catalogue, PushConfig(endpoint=hub.url, revision="trial"))

    assert set(hub.files(REPO, "main")) == {".gitattributes"}
    pull_model(REPO, config_for(hub, tmp_path / "a", nano_base, revision="trial", name="trial"))
    assert (tmp_path / "a" / "gpt_trial.pth").is_file()


def test_a_file_that_arrives_damaged_is_not_installed(hub, catalogue, nano_base, tmp_path):
    push_model("catalan", REPO, catalogue, PushConfig(endpoint=hub.url))
    hub.damaged.add("gpt_catalan.safetensors")

    with pytest.raises(RegistryError, match=r"gpt_catalan.safetensors is not what its SHA-256"):
        pull_model(REPO, config_for(hub, tmp_path / "a", nano_base))

    assert not list((tmp_path / "a").glob("gpt_*"))


def test_a_pull_that_was_interrupted_goes_on(hub, catalogue, nano_base, tmp_path):
    push_model("catalan", REPO, catalogue, PushConfig(endpoint=hub.url))
    hub.cut_at["catalan_bpe.model"] = 100
    config = config_for(hub, tmp_path / "a", nano_base)
    with pytest.raises(RegistryError, match="does not give or take"):
        pull_model(REPO, config)
    hub.cut_at.clear()
    hub.fetched.clear()

    pull_model(REPO, config)

    assert "gpt_catalan.safetensors" not in hub.fetched  # it was whole already
    assert verify_model("catalan", tmp_path / "a") == []


def test_weights_that_are_not_those_of_the_entry_are_refused(hub, catalogue, nano_base, tmp_path):
    push_model("catalan", REPO, catalogue, PushConfig(endpoint=hub.url))
    weights, header = load_checkpoint(catalogue.model_dir / "gpt_catalan.pth")
    save_safe(tmp_path / "x.safetensors", weights, replace(header, step=7))
    other = {"gpt_catalan.safetensors": (tmp_path / "x.safetensors").read_bytes()}
    hub.add_commit(REPO, "main", {**hub.files(REPO, "main"), **other})

    with pytest.raises(RegistryError, match="is not what its SHA-256 says"):
        pull_model(REPO, config_for(hub, tmp_path / "a", nano_base))


@pytest.mark.parametrize("name", ["gpt_catalan.pth", "../gpt.safetensors", "/etc/x.safetensors"])
def test_an_entry_that_names_a_pickle_or_another_place_is_refused(
    hub, catalogue, nano_base, tmp_path, name
):
    push_model("catalan", REPO, catalogue, PushConfig(endpoint=hub.url))
    files = dict(hub.files(REPO, "main"))
    entry = json.loads(files["gpt_catalan.json"])
    entry["checkpoint"]["name"] = name
    files["gpt_catalan.json"] = json.dumps(entry).encode()
    files[name] = b"x"
    hub.add_commit(REPO, "main", files)
    hub.fetched.clear()

    with pytest.raises(UserError, match=r"is a pickle|cannot be part of a file name"):
        pull_model(REPO, config_for(hub, tmp_path / "a", nano_base))

    assert hub.fetched == ["gpt_catalan.json"]


def test_a_model_of_the_name_is_replaced_only_by_force(hub, catalogue, nano_base):
    push_model("catalan", REPO, catalogue, PushConfig(endpoint=hub.url))
    config = config_for(hub, catalogue.model_dir, nano_base)

    with pytest.raises(RegistryError, match="another model 'catalan'"):
        pull_model(REPO, config)

    pull_model(REPO, replace(config, force=True))
    assert catalogue.models()[0].origin.startswith(REPO)


def test_without_a_token_it_says_how_to_log_in(hub, catalogue, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")

    with pytest.raises(RegistryError) as caught:
        push_model("catalan", REPO, catalogue, PushConfig(endpoint=hub.url))

    assert "hf auth login" in caught.value.fix
    assert hub.commits == {}


@pytest.mark.parametrize("repo", ["marta/none", "no such name"])
def test_a_repository_that_is_not_there_is_told(hub, nano_base, tmp_path, repo):
    with pytest.raises(RegistryError, match="does not give or take"):
        pull_model(repo, config_for(hub, tmp_path / "a", nano_base))


def test_the_commands_push_and_pull(hub, catalogue, nano_base, tmp_path, capsys):
    place = ["--base", str(nano_base), "--endpoint", hub.url, "--model-dir"]

    assert main(["push", "catalan", REPO, *place, str(catalogue.model_dir), "--private"]) == 0
    printed = capsys.readouterr().out
    commit = printed.strip().rsplit(" ", 1)[1]
    assert f"idiolect models pull {REPO} --revision {commit}" in printed
    assert hub.private == {REPO}

    assert main(["pull", REPO, "--revision", commit, *place, str(tmp_path / "b")]) == 0
    printed = capsys.readouterr().out
    assert f"from {REPO}@{commit}" in printed
    assert "under the Apache-2.0" in printed
