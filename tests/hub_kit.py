"""A hub on this machine: as much of the interface of Hugging Face as models are passed on by."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

LARGE = (".pth", ".safetensors", ".model")
TOKEN = "hf_of_these_tests"


@dataclass
class LocalHub:
    """What the hub holds: commits of repositories, and large files by their hash."""

    url: str = ""
    commits: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    branches: dict[str, dict[str, int]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    fetched: list[str] = field(default_factory=list)
    cut_at: dict[str, int] = field(default_factory=dict)
    """Files that break off after so many bytes."""
    damaged: set[str] = field(default_factory=set)

    def commit_id(self, repo: str, number: int) -> str:
        return hashlib.sha1(f"{repo} {number}".encode()).hexdigest()

    def files(self, repo: str, revision: str) -> dict[str, bytes] | None:
        commits = self.commits.get(repo, [])
        if revision in self.branches.get(repo, {}):
            return commits[self.branches[repo][revision]]
        known = {self.commit_id(repo, number): each for number, each in enumerate(commits)}
        return known.get(revision)

    def add_commit(self, repo: str, branch: str, files: dict[str, bytes]) -> str:
        self.commits.setdefault(repo, []).append(files)
        number = len(self.commits[repo]) - 1
        self.branches.setdefault(repo, {})[branch] = number
        return self.commit_id(repo, number)


@contextmanager
def running_hub() -> Iterator[LocalHub]:
    hub = LocalHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _entry(path: str, content: bytes) -> dict:
    blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    entry = {"type": "file", "path": path, "size": len(content), "oid": blob}
    if path.endswith(LARGE):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
    return entry


def _handler(hub: LocalHub) -> type[BaseHTTPRequestHandler]:  # noqa: C901 -- one small server
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def tell(self, value, code=200):
            content = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def fail(self, code, reason):
            self.send_response(code)
            self.send_header("X-Error-Code", reason)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def may(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {TOKEN}"

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = unquote(self.path.split("?")[0])
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
                self.info(found[1], found[2] or "main")
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
                files = hub.files(found[1], found[2]) or {}
                self.tell([_entry(name, content) for name, content in files.items()])
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self.content(found[3], (hub.files(found[1], found[2]) or {}).get(found[3]))
            else:
                self.fail(404, "RepoNotFound")

        def info(self, repo, revision):
            if repo in hub.private and not self.may():
                self.fail(401, "RepoNotFound")
            elif hub.files(repo, revision) is None:
                self.fail(404, "RevisionNotFound" if repo in hub.commits else "RepoNotFound")
            else:
                number = hub.branches[repo].get(revision)
                sha = revision if number is None else hub.commit_id(repo, number)
                self.tell({"id": repo, "modelId": repo, "sha": sha, "siblings": []})

        def content(self, name, content):
            if content is None:
                self.fail(404, "EntryNotFound")
                return
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                total = len(content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.end_headers()
            hub.fetched.append(name)
            sent = bytes(len(content)) if name in hub.damaged else content
            end = hub.cut_at.get(name, len(content))
            self.wfile.write(sent[start:end])
            self.close_connection = end < len(content)

        def do_POST(self):
            path, content = unquote(self.path.split("?")[0]), self.body()
            if not self.may():
                self.fail(401, "Unauthorized")
            elif path == "/api/validate-yaml":
                self.tell({"errors": [], "warnings": []})
            elif path == "/api/repos/create":
                self.create(json.loads(content))
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/branch/(.+)", path):
                known = hub.branches[found[1]]
                self.tell({}, 409 if found[2] in known else 200)
                known.setdefault(found[2], known["main"])
            elif re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/.+", path):
                files = [each["path"] for each in json.loads(content)["files"]]
                modes = {True: "lfs", False: "regular"}
                self.tell({"files": [
                    {"path": f, "uploadMode": modes[f.endswith(LARGE)], "shouldIgnore": False}
                    for f in files
                ]})  # fmt: skip
            elif path.endswith("/info/lfs/objects/batch"):
                self.tell({"transfer": "basic", "objects": [
                    {"oid": each["oid"], "size": each["size"],
                     "actions": {"upload": {"href": f"{hub.url}/put/{each['oid']}"}}}
                    for each in json.loads(content)["objects"]
                ]})  # fmt: skip
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
                self.commit(found[1], found[2], content)
            else:
                self.fail(404, "RepoNotFound")

        def create(self, asked):
            repo = f"{asked['organization']}/{asked['name']}"
            if repo in hub.commits:
                self.tell({"error": "exists", "url": f"{hub.url}/{repo}"}, 409)
                return
            hub.add_commit(repo, "main", {".gitattributes": b""})
            if asked.get("private") or asked.get("visibility") == "private":
                hub.private.add(repo)
            self.tell({"url": f"{hub.url}/{repo}", "name": repo})

        def commit(self, repo, branch, content):
            files = dict(hub.files(repo, branch) or {})
            for line in content.splitlines():
                said = json.loads(line)
                value = said["value"]
                if said["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif said["key"] == "lfsFile":
                    files[value["path"]] = hub.large[value["oid"]]
            oid = hub.add_commit(repo, branch, files)
            self.tell(
                {"success": True, "commitOid": oid, "commitUrl": f"{hub.url}/{repo}/commit/{oid}"}
            )

        def do_PUT(self):
            content = self.body()
            digest = hashlib.sha256(content).hexdigest()
            if digest != self.path.removeprefix("/put/"):
                self.fail(400, "WrongHash")
                return
            hub.large[digest] = content
            self.tell({})

    return Handler
