"""Windows of speech, of many calls at once, to words with times and probabilities.

faster-whisper's own batching works inside one file and skips the checks that catch a decoder gone astray. Telephone
calls are short, so windows of many calls share a batch here, every window passes Whisper's checks (compression ratio,
mean log probability, no-speech), and the few that fail are decoded again alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from speech.text import is_loop, to_simplified
from speech.types import Span, Word
from speech.vad import tighten

if TYPE_CHECKING:
    from speech.models import Weights
    from speech.options import SpeechOptions
    from speech.vad import Window

# Thresholds of the Whisper paper's decoding strategy (Radford et al. 2022, section 4.5).
COMPRESSION_RATIO = 2.4
MEAN_LOG_PROBABILITY = -1.0
NO_SPEECH = 0.6
TEMPERATURES = (0.2, 0.4, 0.6)  # for a window that failed at 0; hotter ones invent more than they repair

CPU_BATCH = 4  # windows; more gains nothing on a few cores
CUDA_BATCH = 24
FRAMES_PER_SECOND = 100  # of the log-mel features
ALIGNMENT_PUNCTUATION = ("\"'“¿([{-《「（", "\"'.。,，!！?？:：”)]}、》」）")

# No initial prompt: one in simplified script buys punctuation but costs text. On the Mandarin fixtures CER rose from
# 11.9 % to 24.1 % (one window of two ended half-way); script and punctuation are mended afterwards, in text.py.


@dataclass(frozen=True, slots=True)
class Heard:
    """What the recogniser made of one window. Word times are seconds in the window."""

    words: tuple[Word, ...]
    mean_log_probability: float
    no_speech: float  # probability
    compression_ratio: float
    temperature: float
    language: str
    language_probabilities: dict[str, float]

    @property
    def failed(self) -> bool:
        """Whether the decoder went astray: a loop, or words it does not believe itself where it heard speech."""
        return _failed(self.text, self.compression_ratio, self.mean_log_probability, self.no_speech)

    @property
    def text(self) -> str:
        return "".join(word.text for word in self.words)


def _failed(text: str, compression_ratio: float, mean_log_probability: float, no_speech: float) -> bool:
    # Chinese is three bytes a character in UTF-8 and compresses little: loops of one or two characters stay under
    # Whisper's ratio, so loops are also looked for as such.
    if compression_ratio > COMPRESSION_RATIO or is_loop(text):
        return True
    return mean_log_probability < MEAN_LOG_PROBABILITY and no_speech <= NO_SPEECH


class Recogniser:
    """faster-whisper over batches of windows of many calls.

    Not safe for concurrent use from several threads; use one per worker process.
    Raises ModelError when the weights do not load on the device.
    """

    def __init__(self, weights: Weights, options: SpeechOptions, *, device: str, compute_type: str) -> None:
        import ctranslate2
        from faster_whisper import WhisperModel

        from speech.types import ModelError

        kind, _, index = device.partition(":")
        try:
            self._whisper: Any = WhisperModel(
                str(weights.path),
                device=kind,
                device_index=int(index or 0),
                compute_type=compute_type,
                cpu_threads=options.cpu_threads,
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(
                f"recogniser {weights.name!r} does not load on {device} with {compute_type}: {error}",
                "run `huiting models check` and `huiting doctor`; another [speech] compute_type may fit this device",
            ) from error
        ctranslate2.set_random_seed(options.seed)
        self._options = options
        self.batch_windows = options.batch_windows or (CPU_BATCH if kind == "cpu" else CUDA_BATCH)
        self.fingerprint = (
            f"{weights.fingerprint} {compute_type} beam={options.beam_size} lang={options.language}"
            f" hot={','.join(options.hotwords)} ct2={ctranslate2.__version__} r2"
        )

    def features(self, sound: np.ndarray) -> np.ndarray:
        """Log-mel features of one window: (samples,) float32 → (mels, 3000) float32, padded to 30 s.

        Shorter inputs are accepted by CTranslate2 but hurt accuracy (CTranslate2 issue 2100).
        """
        from faster_whisper.audio import pad_or_trim

        return pad_or_trim(self._whisper.feature_extractor(sound))

    def languages(self, encoded: Any) -> list[dict[str, float]]:
        """Per window, the probability of every language Whisper knows."""
        if not self._whisper.model.is_multilingual:
            return [{"en": 1.0}] * encoded.shape[0]
        found = self._whisper.model.detect_language(encoded)
        return [{token[2:-2]: probability for token, probability in window} for window in found]

    def encode(self, features: Sequence[np.ndarray]) -> Any:
        """Encoder output of a batch of windows' features."""
        return self._whisper.encode(np.stack(features))

    def decode(
        self,
        encoded: Any,
        languages: Sequence[str],
        seconds: Sequence[float],
        detected: Sequence[dict[str, float]],
        last_try: Sequence[bool],
    ) -> list[Heard]:
        """Words of a batch of encoded windows. `languages` are codes, `seconds` the sound in each window.

        A window that fails its checks is decoded again at rising temperature where it is its `last_try`; the others
        come back as they are, for the caller to cut smaller. The order of the results is that of the windows.
        """
        prompts = [self._prompt(language) for language in languages]
        results = self._whisper.model.generate(
            encoded,
            [prompt for _, prompt in prompts],
            beam_size=self._options.beam_size,
            max_length=self._whisper.max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=self._suppressed(prompts[0][0]),
        )
        drafts = [
            _Draft.of(result, tokenizer)
            for result, (tokenizer, _) in zip(results, prompts, strict=True)
        ]
        for index, draft in enumerate(drafts):
            if draft.failed and last_try[index]:
                drafts[index] = self._again(encoded, index, *prompts[index], draft)
        heard: list[Heard] = []
        for index, draft in enumerate(drafts):
            words = self._align(_one(encoded, index), prompts[index][0], draft.tokens, seconds[index])
            heard.append(
                Heard(
                    words,
                    draft.mean_log_probability,
                    draft.no_speech,
                    draft.compression_ratio,
                    draft.temperature,
                    languages[index],
                    detected[index],
                )
            )
        return heard

    def _prompt(self, language: str) -> tuple[Any, list[int]]:
        from faster_whisper.tokenizer import Tokenizer

        multilingual = self._whisper.model.is_multilingual
        tokenizer = Tokenizer(
            self._whisper.hf_tokenizer, multilingual, task="transcribe", language=language if multilingual else None
        )
        hot = " ".join(self._options.hotwords)
        return tokenizer, self._whisper.get_prompt(tokenizer, [], without_timestamps=True, hotwords=hot or None)

    def _suppressed(self, tokenizer: Any) -> list[int]:
        from faster_whisper.transcribe import get_suppressed_tokens

        return list(get_suppressed_tokens(tokenizer, [-1]) or ())  # pyright: ignore[reportArgumentType]

    def _again(self, encoded: Any, index: int, tokenizer: Any, prompt: list[int], draft: _Draft) -> _Draft:
        """A window that failed its checks, alone and at rising temperature; the best of what came out."""
        tries = [draft]
        for temperature in TEMPERATURES:
            result = self._whisper.model.generate(
                _one(encoded, index),
                [prompt],
                beam_size=1,
                num_hypotheses=5,
                sampling_topk=0,
                sampling_temperature=temperature,
                max_length=self._whisper.max_length,
                return_scores=True,
                return_no_speech_prob=True,
                suppress_blank=True,
                suppress_tokens=self._suppressed(tokenizer),
            )[0]
            tries.append(_Draft.of(result, tokenizer, temperature))
            if not tries[-1].failed:
                return tries[-1]
        calm = [one for one in tries if one.compression_ratio <= COMPRESSION_RATIO and not is_loop(one.text)]
        return max(calm or tries, key=lambda one: one.mean_log_probability)

    def _align(self, encoded: Any, tokenizer: Any, tokens: list[int], seconds: float) -> tuple[Word, ...]:
        from faster_whisper.transcribe import merge_punctuations

        text_tokens = [token for token in tokens if token < tokenizer.eot]
        if not text_tokens:
            return ()
        frames = min(int(seconds * FRAMES_PER_SECOND), 3000)
        timings = self._whisper.find_alignment(tokenizer, [text_tokens], encoded, frames)[0]
        merge_punctuations(timings, *ALIGNMENT_PUNCTUATION)
        words = [
            Word(one["word"], float(one["start"]), max(float(one["start"]), float(one["end"])), float(one["probability"]))
            for one in timings
            if one["word"]
        ]
        if tokenizer.language_code != "zh":
            return tuple(words)
        texts = to_simplified([word.text for word in words])
        return tuple(
            Word(text, word.start, word.end, word.probability) for text, word in zip(texts, words, strict=True)
        )


@dataclass(frozen=True, slots=True)
class _Draft:
    tokens: list[int]
    text: str
    mean_log_probability: float
    no_speech: float
    compression_ratio: float
    temperature: float

    @classmethod
    def of(cls, result: Any, tokenizer: Any, temperature: float = 0.0) -> _Draft:
        tokens = result.sequences_ids[0]
        mean = result.scores[0] * len(tokens) / (len(tokens) + 1)
        text = tokenizer.decode(tokens).strip()
        data = text.encode()
        ratio = len(data) / len(zlib.compress(data)) if data else 1.0
        return cls(tokens, text, mean, result.no_speech_prob, ratio, temperature)

    @property
    def failed(self) -> bool:
        return _failed(self.text, self.compression_ratio, self.mean_log_probability, self.no_speech)


def _one(encoded: Any, index: int) -> Any:
    """One window's encoder output, still shaped as a batch."""
    import ctranslate2

    if encoded.shape[0] == 1:
        return encoded
    array = np.array(encoded.to_device(ctranslate2.Device.cpu).to(ctranslate2.DataType.float32))
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array[index : index + 1]))


def to_call(heard: Heard, window: Window, regions: Sequence[Span]) -> tuple[Word, ...]:
    """A window's words with times in the call, within the track's speech `regions`."""
    moved = []
    for word in heard.words:
        span = tighten(window.to_call(Span(word.start, word.end)), regions)
        moved.append(Word(word.text, round(span.start, 3), round(span.end, 3), round(word.probability, 3)))
    return tuple(moved)
