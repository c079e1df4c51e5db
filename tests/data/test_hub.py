"""Models and data sets through huggingface_hub, from a hub on this machine with its protocol."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DATA = """
import json
from crosslens.config.sections import DatasetSource
from crosslens.data.datasets import files_of, rows
source = DatasetSource(dataset="org/data", revision=REVISION, files="data/*.parquet")
print(json.dumps(list(rows(files_of(source)))))
"""
MODEL = """
from crosslens.data.hub import model_directory
folder = model_directory(MODEL, REVISION)
print(*sorted(path.name for path in folder.iterdir()))
"""


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's protocol that downloads use; `root` holds {kind}s/{org}/{name}/..."""

    root: Path

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        if parts[0] == "api":
            asked = parts[4:]  # revision/COMMIT, and from huggingface_hub 1 on tree/COMMIT?...
            self.describe("/".join(parts[1:4]), asked[0], asked[1].partition("?")[0])
        else:
            kind = [] if parts[0] == "datasets" else ["models"]
            repository, _, place = "/".join(kind + parts).partition("/resolve/")
            self.send(self.root / repository / place.partition("/")[2])

    def describe(self, repository: str, asked: str, revision: str) -> None:
        """What a repository holds at a revision."""
        folder = self.root / repository
        if repository.endswith("/gated") and not self.headers.get("Authorization"):
            self.refuse(401, "GatedRepo")
        elif revision != COMMIT:
            self.refuse(404, "RevisionNotFound")
        else:
            names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
            files = [{"rfilename": name} for name in sorted(names)]
            told = {"id": repository.partition("/")[2], "sha": COMMIT, "siblings": files}
            if asked == "tree":
                told = [
                    {"type": "file", "path": name, "oid": COMMIT, "size": 1}
                    for name in sorted(names)
                ]
            self.reply(json.dumps(told).encode(), {"Content-Type": "application/json"})

    def send(self, file: Path) -> None:
        """A file, with the headers that a cache needs."""
        content = file.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        self.reply(content, {"X-Repo-Commit": COMMIT, "ETag": tag})

    def refuse(self, status: int, code: str) -> None:
        """An error as the hub tells it."""
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


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set and two models, one of them gated, as they lie on the hub."""
    root = tmp_path_factory.mktemp("hub")
    data = root / "datasets" / "org" / "data"
    for part in range(2):
        table = pyarrow.Table.from_pylist([{"problem": f"p{part}", "answer": str(part)}])
        (data / "data").mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table, data / "data" / f"train-{part}.parquet")
    (data / "README.md").write_text("no row")
    for name in ("model", "gated"):
        folder = root / "models" / "org" / name
        folder.mkdir(parents=True)
        for file in ("config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json"):
            (folder / file).write_text(f"{{}} {name}")
    return root


@pytest.fixture
def address(repositories: Path) -> Iterator[str]:
    """Where the hub answers."""
    hub = type("Here", (Hub,), {"root": repositories})
    with ThreadingHTTPServer(("127.0.0.1", 0), hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(
    program: str, cache: Path, address: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program whose hub, a mirror to huggingface_hub, is at the address."""
    program = f"REVISION = {COMMIT!r}\nMODEL = 'org/model'\n{program}"
    given = {"HF_ENDPOINT": address, "HF_HOME": str(cache), "PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=os.environ | given, capture_output=True, text=True)


def test_a_data_set_comes_from_a_mirror_and_then_from_the_cache(tmp_path, address) -> None:
    expected = [{"problem": f"p{part}", "answer": str(part)} for part in range(2)]
    first = ask(DATA, tmp_path, address)
    assert json.loads(first.stdout) == expected, first.stderr
    assert not list(tmp_path.rglob("README.md")), "only what the pattern names is downloaded"
    nowhere = "http://127.0.0.1:9"
    again = ask(DATA, tmp_path, nowhere, HF_HUB_OFFLINE="1")
    assert json.loads(again.stdout) == expected, again.stderr


def test_a_model_comes_without_its_second_copy(tmp_path, address) -> None:
    found = ask(MODEL, tmp_path, address)
    assert found.stdout.split() == ["config.json", "model.safetensors", "tokenizer.json"]


def test_a_gated_model_needs_a_token(tmp_path, address) -> None:
    gated = MODEL.replace("MODEL, ", "'org/gated', ")
    refused = ask(gated, tmp_path, address, HF_TOKEN="")
    assert refused.returncode and "the model org/gated at" in refused.stderr.splitlines()[-1]
    assert "HF_TOKEN where it is gated" in refused.stderr.splitlines()[-1]
    assert ask(gated, tmp_path, address, HF_TOKEN="hf_given").returncode == 0


@pytest.mark.parametrize(
    ("program", "environment", "said"),
    [
        (DATA.replace("REVISION", "'9' * 40", 1), {}, "the dataset org/data at 999"),
        (DATA, {"HF_HUB_OFFLINE": "1"}, "the dataset org/data at 0123"),
        (DATA, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "the dataset org/data at 0123"),
    ],
    ids=["no such revision", "offline, not in the cache", "nobody answers"],
)
def test_what_cannot_be_had_is_one_line(tmp_path, address, program, environment, said) -> None:
    done = ask(program, tmp_path, address, **environment)
    last = done.stderr.splitlines()[-1]
    assert done.returncode and last.startswith("crosslens.io.errors.InputError: ") and said in last
    assert "HF_ENDPOINT and HF_HUB_OFFLINE, or give a local path" in last
