"""Diarization: grouping of voices, one embedding pass a window, pipelines from folders, real weights on real clips."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import MODELS, PROJECT
from hypothesis import given
from hypothesis import strategies as st

from speech import voices
from speech.activity import Activity
from speech.models import Weights, locate
from speech.types import ModelError, Span
from speech.voices import Piece

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # beside other tests, more threads wait for each other
EMBEDDED = "package:segmentation-3.0+campplus"
CLIPS = PROJECT.parent / "shared/fixtures/audio"
pulled = pytest.mark.skipif(not (MODELS / "segmentation-3.0+campplus").is_dir(), reason="huiting models pull")


# -- grouping voices --------------------------------------------------------------------------------------------------


def made_up(voice_of: list[int], seconds: list[float], alike: float = 0.4, noise: float = 0.35, seed: int = 0):
    """Embeddings of pieces: voices whose centroids have cosine `alike`; the shorter the piece, the noisier."""
    rng = np.random.default_rng(seed)
    count = max(voice_of) + 1
    common = rng.normal(size=192)
    common /= np.linalg.norm(common)
    centroids = []
    for _ in range(count):
        own = rng.normal(size=192)
        own -= (own @ common) * common
        centroids.append(np.sqrt(alike) * common + np.sqrt(1 - alike) * own / np.linalg.norm(own))
    rows = [centroids[v] + noise / np.sqrt(max(s, 0.3)) * rng.normal(size=192) / np.sqrt(192) for v, s in zip(voice_of, seconds, strict=True)]
    return np.array(rows, dtype=np.float32), np.array(seconds)


def pieces(seconds: list[float], gap: float = 0.4) -> list[Piece]:
    result, at = [], 0.0
    for length in seconds:
        result.append(Piece(at, at + length))
        at += length + gap
    return result


def same_grouping(found: list[int], truth: list[int]) -> bool:
    return len(set(zip(found, truth, strict=True))) == len(set(truth)) == len(set(found))


@pytest.mark.parametrize("alike", [0.0, 0.3, 0.55])
def test_two_voices(alike):
    truth = [0, 1, 0, 1, 0, 0, 1, 1, 0, 1]
    lengths = [3.0, 4.0, 2.0, 0.6, 5.0, 0.4, 2.5, 3.0, 0.5, 2.0]
    embeddings, seconds = made_up(truth, lengths, alike)
    centroids = voices.found_voices(embeddings, seconds)
    assert len(centroids) == 2
    assert same_grouping(voices.whose(pieces(lengths), embeddings, seconds, centroids), truth)


@pytest.mark.parametrize("seed", range(5))
def test_one_voice_stays_one(seed):
    lengths = [3.0, 4.0, 2.0, 1.3, 5.0, 1.4, 2.5, 3.0]
    embeddings, seconds = made_up([0] * 8, lengths, seed=seed, noise=0.5)
    assert len(voices.found_voices(embeddings, seconds)) == 1


def test_three_voices_need_more_than_a_stray_word():
    truth = [0, 1, 0, 1, 0, 1, 2]
    lengths = [3.0, 4.0, 3.0, 4.0, 3.0, 4.0, 1.5]
    assert len(voices.found_voices(*made_up(truth, lengths))) == 2
    lengths = [3.0, 4.0, 3.0, 4.0, 3.0, 4.0, 6.0]
    assert len(voices.found_voices(*made_up(truth, lengths))) == 3


def test_pieces_too_short_to_embed_go_with_their_neighbours():
    truth = [0, 0, 1, 1, 0, 1]
    lengths = [3.0, 3.0, 3.0, 3.0, 3.0, 3.0]
    embeddings, seconds = made_up(truth, lengths)
    embeddings[1], seconds[1] = np.nan, 0.1
    spoken = pieces(lengths, gap=0.1)
    found = voices.whose(spoken, embeddings, seconds, voices.found_voices(embeddings, seconds))
    assert same_grouping([found[0], *found[2:]], [truth[0], *truth[2:]])
    assert found[1] in (found[0], found[2])


def test_a_piece_with_two_voices_is_suspected():
    truth = [0, 1, 0, 1, 0, 1]
    embeddings, seconds = made_up(truth, [3.0] * 6, alike=0.3)
    embeddings[2] = embeddings[0] / np.linalg.norm(embeddings[0]) + embeddings[1] / np.linalg.norm(embeddings[1])
    centroids = voices.found_voices(embeddings[[0, 1, 3, 4, 5]], seconds[[0, 1, 3, 4, 5]])
    labels = voices.whose(pieces([3.0] * 6), embeddings, seconds, centroids)
    assert voices.mixed(embeddings, seconds, labels, centroids).tolist() == [2]


def test_no_embedding_at_all_gives_no_voice():
    assert len(voices.found_voices(np.full((3, 192), np.nan), np.full(3, 0.1))) == 0
    assert len(voices.found_voices(np.empty((0, 192)), np.empty(0))) == 0


@given(st.integers(1, 12), st.integers(0, 10_000))
def test_grouping_never_fails(count, seed):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(count, 16))
    embeddings[rng.random(count) < 0.3] = np.nan
    seconds = rng.uniform(0.1, 6, count)
    centroids = voices.found_voices(embeddings, seconds)
    if np.isnan(embeddings[:, 0]).all():
        assert not len(centroids)
        return
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1)
    found = voices.whose(pieces(list(seconds)), embeddings, seconds, centroids)
    assert len(found) == count
    assert set(found) <= set(range(len(centroids)))


# -- what the segmentation heard --------------------------------------------------------------------------------------

STEP, WIDTH = 0.02, 0.06


def heard(*who: str) -> Activity:
    """One window of a segmentation; each text is a local speaker, a character 0.02 s, # is speech."""
    windows = np.array([[c == "#" for c in line] for line in who], dtype=float).T[None]
    return Activity(windows, np.zeros(1), windows[0].sum(axis=1).astype(int), 0.0, STEP, WIDTH)


def at(frame: int) -> float:
    return WIDTH / 2 + frame * STEP


def test_speech_is_cut_at_pauses_and_changes():
    found = heard("#" * 50 + "." * 20 + "#" * 50 + "." * 60, "." * 120 + "#" * 60).pieces()
    assert [(pytest.approx(at(a), abs=STEP), pytest.approx(at(b), abs=STEP)) for a, b in ((0, 50), (70, 120), (120, 180))] == [
        (p.start, p.end) for p in found
    ]
    assert [p.change > 0.5 for p in found] == [False, False, True]


def test_a_breath_does_not_cut():
    assert len(heard("#" * 50 + "." * 3 + "#" * 50).pieces()) == 1


def test_overlaps():
    [found] = heard("#" * 60 + "." * 40, "." * 40 + "#" * 60).overlaps()
    assert (found.start, found.end) == (pytest.approx(at(40)), pytest.approx(at(60)))


def test_silence_has_no_pieces():
    assert heard("." * 50).pieces() == []


# -- one pass a window ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def random_pipeline():
    """pyannote's pipeline with a random WeSpeaker network: what it says is nonsense, but the same nonsense twice."""
    from speech import quiet

    quiet.prepare()
    from pyannote.audio.core.plda import PLDA
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34
    from pyannote.audio.models.segmentation import PyanNet
    from pyannote.audio.pipelines import SpeakerDiarization

    torch.manual_seed(0)
    segmentation = PyanNet(sincnet={"stride": 10}, lstm={"hidden_size": 8, "num_layers": 1}, linear={"num_layers": 0})
    segmentation.specifications = Specifications(
        Problem.MONO_LABEL_CLASSIFICATION,
        Resolution.FRAME,
        10.0,
        classes=["a", "b", "c"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    segmentation.build()
    embedding = WeSpeakerResNet34()
    pipeline = SpeakerDiarization(
        segmentation=segmentation.eval(),
        embedding=embedding.eval(),
        plda=PLDA.__new__(PLDA),
        clustering="AgglomerativeClustering",
        embedding_exclude_overlap=True,
        embedding_batch_size=6,
    )
    pipeline.instantiate({"segmentation": {"min_duration_off": 0.0}, "clustering": {"method": "centroid", "min_cluster_size": 2, "threshold": 0.5}})
    return pipeline


def local_speakers(windows: int = 4, frames: int = 120):
    """Made-up activity of three local speakers in 2 s windows: some speak, overlap, or are silent."""
    from pyannote.core import SlidingWindow, SlidingWindowFeature

    active = np.zeros((windows, frames, 3), dtype=np.float32)
    active[1:, 6:60, 0] = 1
    active[1:, 50:100, 1] = 1
    active[3, 98:101, 2] = 1  # hardly a moment without the other
    return SlidingWindowFeature(active, SlidingWindow(start=0.0, duration=2.0, step=1.0))


@pytest.mark.parametrize("exclude_overlap", [True, False])
def test_one_pass_gives_what_a_pass_a_speaker_gives(random_pipeline, exclude_overlap):
    from speech.pipelines import one_pass

    samples = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, 5 * 16000).astype(np.float32))[None]
    file = {"waveform": samples, "sample_rate": 16000, "uri": "noise"}
    activity = local_speakers()
    random_pipeline._embedding.min_num_samples  # noqa: B018  (found by trial at first use, with passes of its own)
    passes = []
    hook = random_pipeline._embedding.model_.resnet.register_forward_hook(lambda m, args, out: passes.append(len(args[0])))
    try:
        stock = type(random_pipeline).get_embeddings(random_pipeline, file, activity, exclude_overlap=exclude_overlap)
        stock_passes, passes = sum(passes), []
        one_pass(random_pipeline)
        ours = random_pipeline.get_embeddings(file, activity, exclude_overlap=exclude_overlap)
    finally:
        hook.remove()
    speaking = activity.data.any(axis=1)
    assert ours.shape == stock.shape
    np.testing.assert_allclose(ours[speaking], stock[speaking], rtol=1e-3, atol=1e-4)
    assert np.isfinite(ours).all()
    assert stock_passes >= 4 * 3
    assert sum(passes) == 3  # the windows with speech


# -- pipelines from folders -------------------------------------------------------------------------------------------


def test_a_folder_without_a_pipeline_is_refused_with_what_to_do(tmp_path):
    from speech.pipelines import hub_pipeline

    with pytest.raises(ModelError, match=r"no config\.yaml") as caught:
        hub_pipeline(Weights("org/thing", tmp_path, "", "", ""))
    assert "community-1" in caught.value.remedy


def test_a_pipeline_whose_parts_are_missing_is_refused_with_what_to_do(tmp_path):
    from speech import quiet
    from speech.pipelines import hub_pipeline

    quiet.prepare()
    (tmp_path / "config.yaml").write_text(
        "version: 4.0.0\npipeline:\n  name: pyannote.audio.pipelines.SpeakerDiarization\n  params:\n"
        "    segmentation: $model/segmentation\n    embedding: $model/embedding\n    plda: $model/plda\n"
        "    clustering: VBxClustering\nparams:\n  clustering:\n    threshold: 0.6\n    Fa: 0.07\n    Fb: 0.8\n"
        "  segmentation:\n    min_duration_off: 0.0\n"
    )
    with pytest.raises(ModelError, match="does not load") as caught:
        hub_pipeline(Weights("org/thing", tmp_path, "", "", ""))
    assert "huiting models pull org/thing" in caught.value.remedy


def test_weights_of_another_network_are_refused(tmp_path):
    from speech.campplus import load

    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"no CAM\+\+ weights"):
        load(tmp_path / "other.pt")


# -- the embedded weights -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def diarizer():
    from speech.diarize import Diarizer

    return Diarizer(locate(EMBEDDED, MODELS))


def clip(name: str) -> tuple[np.ndarray, list[tuple[float, float, str]]]:
    from speech.audio import decode

    path = CLIPS / f"{name}.flac"
    if not path.exists():
        pytest.skip("no shared fixtures")
    reference = []
    for line in (CLIPS / f"{name}.rttm").read_text("utf-8").splitlines():
        field = line.split()
        reference.append((float(field[3]), float(field[3]) + float(field[4]), field[7]))
    return decode(path).samples[0], reference


def error_rate(reference, turns) -> float:
    from pyannote.core import Annotation, Segment
    from pyannote.metrics.diarization import DiarizationErrorRate

    truth, found = Annotation(), Annotation()
    for index, (start, end, speaker) in enumerate(reference):
        truth[Segment(start, end), index] = speaker
    for index, (span, speaker) in enumerate(turns):
        found[Segment(span.start, span.end), index] = speaker
    return float(DiarizationErrorRate(collar=0.0, skip_overlap=False)(truth, found))  # type: ignore[arg-type]


@pytest.mark.models
@pulled
def test_two_speakers_of_a_real_clip(diarizer):
    samples, reference = clip("en_pyannote_sample")
    found = diarizer.diarize(samples, 16000)
    assert error_rate(reference, found.turns) < 0.08
    assert set(found.embeddings) == {"S1", "S2"}
    assert found.exclusive[0][1] == "S1"
    assert all(a[0].end <= b[0].start + 1e-6 for a, b in zip(found.exclusive, found.exclusive[1:], strict=False))


@pytest.mark.models
@pulled
def test_the_same_twice(diarizer):
    samples, _ = clip("zh_soulx_pair_mono16k")
    first, second = diarizer.diarize(samples), diarizer.diarize(samples)
    assert first.turns == second.turns
    assert first.fingerprint == second.fingerprint


@pytest.mark.models
@pulled
@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(4000, np.float32), np.zeros(48000, np.float32)])
def test_silence_has_no_turns(diarizer, samples):
    assert diarizer.diarize(samples).turns == ()


@pytest.mark.models
@pulled
def test_another_rate_is_refused(diarizer):
    with pytest.raises(ValueError, match="16000"):
        diarizer.diarize(np.zeros(8000, np.float32), 8000)


@pytest.mark.models
@pulled
def test_voices_on_a_channel(diarizer):
    samples, _ = clip("zh_soulx_pair_mono16k")
    regions = [Span(0.2, 4.0), Span(4.2, 9.0), Span(10.5, 15.0), Span(15.2, 20.0)]
    assert [voice for _, voice in diarizer.voices_on_channel(samples, regions)] in ([0, 0, 1, 1], [1, 1, 0, 0])
    assert {voice for _, voice in diarizer.voices_on_channel(samples, regions[:2])} == {0}


@pytest.mark.models
@pulled
def test_the_embedded_pipeline_in_one_pass_is_the_stock_one_from_fewer_passes():
    """pyannote's own clustering over the embedded weights. How much faster that is: bench/diarization.py."""
    from pyannote.core import SlidingWindowFeature

    from speech.pipelines import embedded_pipeline, one_pass

    samples, _ = clip("en_pyannote_sample")
    file = {"waveform": torch.from_numpy(samples)[None], "sample_rate": 16000, "uri": "clip"}
    pipeline = embedded_pipeline(locate(EMBEDDED, MODELS).path)
    segmentation: SlidingWindowFeature = pipeline.get_segmentations(file)
    few = SlidingWindowFeature(segmentation.data[::7], segmentation.sliding_window)
    pipeline._embedding.min_num_samples  # noqa: B018  (found by trial at first use; its passes do not count)
    passes = []  # windows that went through the network
    pipeline._embedding.model_.register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))
    stock = pipeline.get_embeddings(file, few, exclude_overlap=True)
    passes_of_stock = sum(passes)
    passes.clear()
    one_pass(pipeline)
    ours = pipeline.get_embeddings(file, few, exclude_overlap=True)
    assert 0 < sum(passes) <= len(few.data) < passes_of_stock
    speaking = few.data.any(axis=1)
    np.testing.assert_allclose(ours[speaking], stock[speaking], rtol=1e-4, atol=1e-5)


@pytest.mark.models
@pulled
def test_a_pipeline_folder_with_real_parts_runs(tmp_path):
    """What a hub's snapshot looks like: a config.yaml beside the parts it names."""
    import shutil

    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34

    from speech.diarize import Diarizer

    torch.manual_seed(0)
    (tmp_path / "segmentation").mkdir()
    shutil.copy(MODELS / "segmentation-3.0+campplus/segmentation-3.0/pytorch_model.bin", tmp_path / "segmentation")
    (tmp_path / "embedding").mkdir()
    model = WeSpeakerResNet34()
    checkpoint = {"state_dict": model.state_dict(), "pytorch-lightning_version": "2.0.0", "hyper_parameters": dict(model.hparams)}
    model.specifications = Specifications(Problem.REPRESENTATION, Resolution.CHUNK, 5.0)
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "embedding/pytorch_model.bin")
    (tmp_path / "plda").mkdir()
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "plda/xvec_transform.npz", mean1=np.zeros(256), mean2=np.zeros(128), lda=rng.normal(size=(256, 128)))
    np.savez(tmp_path / "plda/plda.npz", mu=np.zeros(128), tr=np.eye(128), psi=np.linspace(2, 0.1, 128))
    (tmp_path / "config.yaml").write_text(
        "version: 4.0.0\npipeline:\n  name: pyannote.audio.pipelines.SpeakerDiarization\n  params:\n"
        "    segmentation: $model/segmentation\n    segmentation_step: 0.5\n    embedding: $model/embedding\n    plda: $model/plda\n"
        "    embedding_exclude_overlap: true\n    clustering: VBxClustering\nparams:\n  clustering:\n    threshold: 0.6\n"
        "    Fa: 0.07\n    Fb: 0.8\n  segmentation:\n    min_duration_off: 0.0\n"
    )
    samples, _ = clip("en_pyannote_sample")
    found = Diarizer(locate(str(tmp_path), MODELS)).diarize(samples)
    assert found.turns
    assert all(speaker.startswith("S") for _, speaker in found.turns)
    assert all(a[0].end <= b[0].start + 1e-6 for a, b in zip(found.exclusive, found.exclusive[1:], strict=False))
