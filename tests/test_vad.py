"""Windows: nothing said is lost, nothing is moved, and times come back to where the sound was."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from speech.audio import SAMPLE_RATE
from speech.types import Span
from speech.vad import MAX_REGION, PAD, WINDOW, pack, speech_regions, tighten


@st.composite
def regions(draw) -> tuple[list[Span], float]:
    spans, at = [], draw(st.floats(0, 5))
    for _ in range(draw(st.integers(0, 25))):
        length = draw(st.floats(0.1, MAX_REGION))
        spans.append(Span(at, at + length))
        at += length + draw(st.floats(0.25, 20))
    return spans, at + 1.0


@given(regions())
def test_every_region_is_in_exactly_one_window_in_order(case):
    spans, duration = case
    windows = pack(spans, 0, duration)
    pieces = [piece for window in windows for piece in window.pieces]
    for window in windows:
        assert window.duration <= WINDOW + 1e-6
        for left, right in zip(window.pieces, window.pieces[1:], strict=False):
            assert left.offset + left.source.duration <= right.offset + 1e-6
    for left, right in itertools.pairwise(pieces):
        assert left.source.end <= right.source.start + 1e-6
    for span in spans:
        holding = [p for p in pieces if p.source.start <= span.start + 1e-6 and span.end <= p.source.end + 1e-6]
        assert len(holding) == 1


@given(regions())
def test_window_times_go_back_to_the_call(case):
    spans, duration = case
    for window in pack(spans, 0, duration):
        for piece in window.pieces:
            middle = piece.offset + piece.source.duration / 2
            back = window.to_call(Span(middle, middle + 0.01))
            assert abs(back.start - (piece.source.start + piece.source.duration / 2)) < 1e-6


def test_a_word_stretched_over_a_cut_belongs_to_the_speech_it_ends_in():
    (window,) = pack([Span(1.0, 3.0), Span(10.0, 12.0)], 0, 20.0)
    first, second = window.pieces
    cut = first.offset + first.source.duration
    word = window.to_call(Span(cut - 0.3, second.offset + PAD + 0.05))
    assert word.start >= second.source.start
    last = window.to_call(Span(cut - 0.6, cut - 0.3))
    assert last.end <= first.source.end


def test_tighten_cuts_the_pause_off_a_word():
    speech = [Span(1.0, 2.0), Span(3.0, 4.0)]
    assert tighten(Span(1.9, 3.3), speech) == Span(2.9, 3.3)
    assert tighten(Span(1.5, 2.6), speech) == Span(1.5, 2.0)
    assert tighten(Span(1.2, 1.4), speech) == Span(1.2, 1.4)
    assert tighten(Span(6.0, 6.4), speech) == Span(6.0, 6.4)


def test_silence_and_line_noise_hold_no_speech():
    rng = np.random.default_rng(1)
    assert speech_regions(np.zeros(5 * SAMPLE_RATE, np.float32)) == ()
    assert speech_regions(rng.normal(0, 0.003, 5 * SAMPLE_RATE).astype(np.float32)) == ()
    assert speech_regions(np.zeros(10, np.float32)) == ()
