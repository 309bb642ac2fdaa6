"""All speech models on one device, loaded once: the one door through which recordings become transcripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from speech import quiet
from speech.batch import Job, Progress, Result, transcribe
from speech.options import SpeechOptions

if TYPE_CHECKING:
    from speech.devices import Device


class Engine:
    """Recogniser, diarizer and emotion of one process on one device.

    Raises ModelError when weights are missing or do not load. `fingerprints` maps a stage to what makes its results:
    weights by their sums, and every setting that changes what comes out.
    """

    def __init__(self, options: SpeechOptions, device: Device) -> None:
        quiet.prepare()
        from speech.assemble import Assembler
        from speech.emotion import load_emotion
        from speech.models import locate
        from speech.recognise import Recogniser
        from speech.stages import fingerprints

        self._options = options
        weights = locate(options.models.recogniser, options.models_folder, offline=options.offline)
        self._recogniser = Recogniser(weights, options, device=device.name, compute_type=device.compute_type)
        emotion = load_emotion(options, device) if options.emotion else None
        self.fingerprints = fingerprints(options, device.compute_type)
        self._assemble = Assembler(options, self.fingerprints, self._make_diarizer(device), emotion)

    def _make_diarizer(self, device: Device):
        def make():
            from speech.diarize import load_diarizer

            return load_diarizer(self._options, device)

        return make

    def run(self, jobs: Iterable[Job | None], progress: Progress | None = None) -> Iterator[Result]:
        """One result a job, as each is finished; see speech/batch.py."""
        return transcribe(jobs, self._recogniser, self._assemble, self._options, progress)
