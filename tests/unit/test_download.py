import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from idiolect.base.errors import CheckpointError, ConfigError
from idiolect.cli.download import main
from idiolect.models.download import DownloadConfig, ModelScopeHub, download_base
from idiolect.models.published import AUXILIARIES, BASE_REPO, locate_base

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class StandIn:
    """What the hub on this machine holds, and what was asked of it."""

    repos: dict[str, dict[str, bytes]]
    url: str = ""
    ranges: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    cut_at: dict[str, int] = field(default_factory=dict)
    """Files that break off after so many bytes."""
    damaged: set[str] = field(default_factory=set)


def handler_of(hub: StandIn) -> type[BaseHTTPRequestHandler]:  # noqa: C901 -- one small server
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, *, with_body):
            path = self.path.split("?")[0]
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/main", path):
                self.send_tree(found[1])
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
                self.send_content(found[1], found[2], with_body=with_body)
            else:
                self.fail(404, "RepoNotFound")

        def fail(self, code, reason):
            self.send_response(code)
            self.send_header("X-Error-Code", reason)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send_tree(self, repo):
            if repo not in hub.repos:
                self.fail(404, "RepoNotFound")
                return
            entries = [tree_entry(p, content) for p, content in hub.repos[repo].items()]
            body = json.dumps(entries).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def send_content(self, repo, path, *, with_body):
            content = hub.repos.get(repo, {}).get(path)
            if content is None:
                self.fail(404, "EntryNotFound")
                return
            start = 0
            if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
                start = int(asked[1])
                hub.ranges.append(path)
            self.send_response(206 if start else 200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                total = len(content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.end_headers()
            if with_body:
                self.send_body(path, content, start)

        def send_body(self, path, content, start):
            hub.fetched.append(path)
            if path in hub.damaged:
                content = bytes(len(content))
            end = hub.cut_at.get(path, len(content))
            self.wfile.write(content[start:end])
            if end < len(content):
                self.close_connection = True

    return Handler


def tree_entry(path: str, content: bytes) -> dict:
    oid = hashlib.sha256(content).hexdigest()
    entry = {"type": "file", "path": path, "size": len(content), "oid": oid[:40]}
    if path.endswith((".pth", ".pt", ".bin", ".safetensors", ".model")):
        entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 134}
    return entry


@pytest.fixture
def hub(nano_base, monkeypatch, tmp_path) -> Iterator[StandIn]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))
    of_base = {p.name: p.read_bytes() for p in nano_base.iterdir() if p.is_file()}
    of_base["LICENSE.txt"] = b"the terms"
    of_base["qwen0.6bemo4-merge/config.json"] = b"{}"
    of_base["qwen0.6bemo4-merge/model.safetensors"] = b"weights"
    repos = {BASE_REPO: of_base}
    for auxiliary in AUXILIARIES:
        cache = nano_base / "hf_cache"
        repos[auxiliary.repo] = {
            file: (cache / auxiliary.local_path(file)).read_bytes() for file in auxiliary.files
        }
    stand_in = StandIn(repos)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(stand_in))
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield stand_in
    server.shutdown()
    server.server_close()
    thread.join()


def config_for(hub: StandIn, **changes) -> DownloadConfig:
    return DownloadConfig(mirror=hub.url, accept_licence="bilibili", **changes)


def test_what_is_fetched_is_a_whole_base(hub, nano_base, tmp_path):
    report = download_base(tmp_path / "checkpoints", config_for(hub))

    files = locate_base(tmp_path / "checkpoints")
    assert files.codec.read_bytes() == locate_base(nano_base).codec.read_bytes()
    assert files.qwen_dir == tmp_path / "checkpoints" / "qwen0.6bemo4-merge"
    assert (tmp_path / "checkpoints" / "LICENSE.txt").read_bytes() == b"the terms"
    assert not (tmp_path / "checkpoints" / ".download").exists()
    assert len(report.fetched) == 16
    assert report.present == ()


def test_the_list_of_sums_is_one_that_sha256sum_reads(hub, tmp_path):
    report = download_base(tmp_path / "c", config_for(hub))

    lines = report.sums.read_text().splitlines()
    assert len(lines) == len(report.fetched)
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "c" / name).read_bytes()).hexdigest() == digest


def test_the_guides_folder_may_be_filled_by_a_download(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    download_base(Path("checkpoints"), config_for(hub))

    assert locate_base("checkpoints")


def test_a_second_run_fetches_only_what_is_missing(hub, tmp_path):
    download_base(tmp_path / "c", config_for(hub))
    (tmp_path / "c" / "s2mel.pth").unlink()
    (tmp_path / "c" / "gpt.pth").write_bytes(b"mine")
    hub.fetched.clear()

    report = download_base(tmp_path / "c", config_for(hub))

    assert hub.fetched == ["s2mel.pth"]
    assert [path.name for path in report.fetched] == ["s2mel.pth"]
    assert (tmp_path / "c" / "gpt.pth").read_bytes() == b"mine"


def test_an_interrupted_file_goes_on_where_it_stopped(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 20)
    content = hub.repos[BASE_REPO]["gpt.pth"]
    hub.cut_at["gpt.pth"] = len(content) // 2

    with pytest.raises(CheckpointError, match=r"cannot fetch IndexTeam/IndexTTS-2/gpt\.pth") as e:
        download_base(tmp_path / "c", config_for(hub))
    assert "goes on where it stopped" in e.value.fix
    assert not (tmp_path / "c" / "gpt.pth").exists()

    hub.cut_at.clear()
    hub.ranges.clear()
    download_base(tmp_path / "c", config_for(hub))

    assert hub.ranges == ["gpt.pth"]
    assert (tmp_path / "c" / "gpt.pth").read_bytes() == content


def test_a_file_that_arrives_damaged_is_not_kept(hub, tmp_path):
    hub.damaged.add("gpt.pth")

    with pytest.raises(CheckpointError, match=r"gpt\.pth arrived damaged"):
        download_base(tmp_path / "c", config_for(hub))

    assert not (tmp_path / "c" / "gpt.pth").exists()
    hub.damaged.clear()
    download_base(tmp_path / "c", config_for(hub))
    assert (tmp_path / "c" / "gpt.pth").is_file()


@pytest.mark.parametrize("answer", ["", "yes", "apache-2.0"])
def test_nothing_is_asked_of_the_hub_before_the_licence_is_accepted(hub, tmp_path, answer):
    config = DownloadConfig(mirror=hub.url, accept_licence=answer)

    with pytest.raises(ConfigError, match="bilibili Model Use License Agreement") as caught:
        download_base(tmp_path / "c", config)

    assert "--accept-licence bilibili" in caught.value.fix
    assert "CC-BY-NC-4.0" in caught.value.problem
    assert not (tmp_path / "c").exists()


def test_the_reader_of_emotions_can_be_left_out(hub, tmp_path):
    download_base(tmp_path / "c", config_for(hub, qwen=False))

    assert locate_base(tmp_path / "c").qwen_dir is None


def test_a_repository_without_a_needed_file_is_told(hub, tmp_path):
    del hub.repos[BASE_REPO]["s2mel.pth"]

    with pytest.raises(CheckpointError, match=r"IndexTTS-2 has no s2mel\.pth"):
        download_base(tmp_path / "c", config_for(hub))


def test_a_hub_that_cannot_be_reached_is_told(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    dead = DownloadConfig(mirror="http://127.0.0.1:9", accept_licence="bilibili")

    with pytest.raises(CheckpointError, match="cannot fetch IndexTeam/IndexTTS-2") as caught:
        download_base(tmp_path / "c", dead)

    assert "--mirror" in caught.value.fix


def test_a_full_disk_is_noticed_before_fetching(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("idiolect.models.download.free_bytes", lambda folder: 1 << 20)

    with pytest.raises(CheckpointError, match=r"1\.0MB are free"):
        download_base(tmp_path / "c", config_for(hub))

    assert hub.fetched == []


def test_modelscope_needs_its_library():
    with pytest.raises(ConfigError, match="needs the library modelscope") as caught:
        ModelScopeHub()

    assert caught.value.fix.startswith("pip install modelscope")


def test_modelscope_gives_what_it_mirrors_and_hugging_face_the_rest(hub, tmp_path, monkeypatch):
    asked = []

    class HubApi:
        def get_model_files(self, repo, recursive):
            files = hub.repos[mirrored.get(repo, repo)]
            return [
                {"Path": p, "Size": len(c), "Type": "blob", "Sha256": ""} for p, c in files.items()
            ]

    def model_file_download(repo, path, local_dir):
        asked.append(repo)
        target = Path(local_dir) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(hub.repos[mirrored.get(repo, repo)][path])
        return str(target)

    mirrored = {a.modelscope_repo: a.repo for a in AUXILIARIES if a.modelscope_repo}
    modules = {name: ModuleType(name) for name in ("modelscope", "modelscope.hub")}
    modules["modelscope.hub.api"] = ModuleType("modelscope.hub.api")
    modules["modelscope.hub.api"].HubApi = HubApi
    modules["modelscope.hub.file_download"] = ModuleType("modelscope.hub.file_download")
    modules["modelscope.hub.file_download"].model_file_download = model_file_download
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("idiolect.models.download.find_spec", lambda name: object())

    download_base(tmp_path / "c", config_for(hub, source="modelscope"))

    assert set(asked) == {BASE_REPO, *mirrored}
    assert locate_base(tmp_path / "c")


def test_the_command_fetches_and_says_so(hub, tmp_path, capsys):
    folder = str(tmp_path / "c")

    assert main([folder, "--mirror", hub.url, "--accept-licence", "bilibili"]) == 0
    assert "is complete: 16 files, 16 of them fetched now" in capsys.readouterr().out
    assert main([folder, "--mirror", hub.url]) == 2
    assert "--accept-licence bilibili" in capsys.readouterr().err
