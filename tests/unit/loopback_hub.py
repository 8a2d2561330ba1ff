"""A hub of data sets on 127.0.0.1: what the clients `huggingface_hub` and `datasets` ask the real one for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextlib.contextmanager
def serve(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """Serve repositories (owner/name -> path -> content), each with the one commit COMMIT. Yields the address and the
    list that every request's path is added to."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = unquote(urlsplit(self.path).path).strip("/").split("/")
            asked.append(self.path)
            api = path[0] == "api"
            if api:
                path = path[1:]
            if path[0] != "datasets" or "/".join(path[1:3]) not in repositories:
                return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            files = repositories["/".join(path[1:3])]
            verb, revision, name = (path[3], path[4], "/".join(path[5:])) if len(path) > 4 else ("revision", "", "")
            if revision not in (COMMIT, "main", ""):
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            if api and verb == "revision":
                siblings = [{"rfilename": file} for file in files]
                info = {"id": "/".join(path[1:3]), "sha": COMMIT, "private": False, "gated": False, "disabled": False}
                return self.json(info | {"siblings": siblings, "tags": [], "downloads": 0, "likes": 0})
            if api and verb == "tree":
                return self.json(tree(files, name, "recursive" in parse_qs(urlsplit(self.path).query)))
            if api and verb == "paths-info":
                wanted = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["paths"]
                return self.json([entry for entry in tree(files, "", True) if entry["path"] in wanted])
            if verb == "resolve" and name in files:
                digest = hashlib.sha256(files[name]).hexdigest()
                return self.answer(200, files[name], {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT})
            return self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})

        do_HEAD = do_POST = do_GET

        def json(self, value):
            self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def answer(self, status, body, headers):
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def tree(files: Mapping[str, bytes], folder: str, recursive: bool) -> list[dict]:
    """The files and folders in a folder, as the hub lists them."""
    start = f"{folder}/" if folder else ""
    found = {}
    for path, content in files.items():
        if not path.startswith(start):
            continue
        rest = path[len(start) :].split("/")
        for depth in range(1, len(rest) if recursive else 2):
            if depth < len(rest):
                name = start + "/".join(rest[:depth])
                found[name] = {"type": "directory", "path": name, "size": 0, "oid": "0" * 40}
        if recursive or len(rest) == 1:
            found[path] = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
    return list(found.values())
