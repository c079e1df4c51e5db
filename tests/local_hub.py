"""A hub on this machine with Hugging Face's protocol."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONVERTED = "refs/convert/parquet"  # the branch of the hub's own conversions; here, the commit


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's protocol that downloads use; `root` holds {kind}s/{org}/{name}/..."""

    root: Path

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        if parts == [""]:
            self.reply(b"", {})
        elif parts[0] == "xet":
            told = {"Cas-Url": self.address, "Access-Token": "any", "Token-Expiration": str(10**10)}
            self.reply(b"", {f"X-Xet-{name}": value for name, value in told.items()})
        elif parts[0] in ("v1", "v2"):  # where clients then ask for a file's parts
            self.refuse(404, "EntryNotFound")
        elif parts[-1] == "auth-check":
            self.refuse(403, "GatedRepo")
        elif parts[0] == "api" and len(parts) < 6:  # of no repository
            self.refuse(404, "EntryNotFound")
        elif parts[0] == "api":
            asked = parts[4:]  # revision/COMMIT, and from huggingface_hub 1 on tree/COMMIT?...
            self.describe("/".join(parts[1:4]), asked[0], asked[1].partition("?")[0])
        else:
            kind = [] if parts[0] == "datasets" else ["models"]
            repository, _, place = "/".join(kind + parts).partition("/resolve/")
            self.send(self.root / repository / place.partition("/")[2])

    def describe(self, repository: str, asked: str, revision: str) -> None:
        """Send what a repository holds at a revision."""
        folder = self.root / repository
        if repository.endswith("/gated") and not self.headers.get("Authorization"):
            self.refuse(401, "GatedRepo")
        elif unquote(revision) not in (COMMIT, CONVERTED):
            self.refuse(404, "RevisionNotFound")
        else:
            names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
            sizes = {name: (folder / name).stat().st_size for name in sorted(names)}
            files = [{"rfilename": name, "size": size} for name, size in sizes.items()]
            told = {"id": repository.partition("/")[2], "sha": COMMIT, "siblings": files}
            told["gated"] = "manual" if repository.endswith("/licensed") else False
            told["tags"] = ["license:mit", "region:us"]
            if asked == "tree":
                told = [
                    {"type": "file", "path": name, "oid": COMMIT, "size": size}
                    for name, size in sizes.items()
                ]
            self.reply(json.dumps(told).encode(), {"Content-Type": "application/json"})

    def send(self, file: Path) -> None:
        """Send a file, with the headers that a cache needs."""
        content = file.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        headers = {"X-Repo-Commit": COMMIT, "ETag": tag}
        if "in-parts" in file.parts:
            headers |= {"X-Xet-Hash": "0" * 64, "X-Xet-Refresh-Route": f"{self.address}/xet"}
        self.reply(content, headers)

    @property
    def address(self) -> str:
        """Return where this hub answers."""
        return f"http://{self.headers['Host']}"

    def refuse(self, status: int, code: str) -> None:
        """Send an error as the hub does."""
        self.reply(b"", {"X-Error-Code": code, "X-Error-Message": f"told: {code}"}, status)

    def reply(self, content: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def make_repositories(root: Path) -> Path:
    """Write a data set and four models, two gated and one in parts, as they lie on the hub."""
    import pyarrow.parquet  # not in every environment

    data = root / "datasets" / "org" / "data"
    for part in range(2):
        table = pyarrow.Table.from_pylist([{"problem": f"p{part}", "answer": str(part)}])
        (data / "data").mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table, data / "data" / f"train-{part}.parquet")
    (data / "README.md").write_text("no row")
    for name in ("model", "gated", "licensed", "in-parts"):
        folder = root / "models" / "org" / name
        folder.mkdir(parents=True)
        copies = ("pytorch_model.bin", "consolidated.safetensors")  # of the weights
        for file in ("config.json", "model.safetensors", "tokenizer.json", *copies):
            (folder / file).write_text(f"{{}} {name}")
    return root


@contextmanager
def serve(root: Path) -> Iterator[str]:
    """Answer for the repositories below a folder; yield the address."""
    hub = type("Here", (Hub,), {"root": root})
    with ThreadingHTTPServer(("127.0.0.1", 0), hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
