"""What speech is measured by, on sounds and texts of which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clips import RATE, warble
from idiolect.listening.scores import (
    LetterErrors,
    cheapest_path,
    edit_distance,
    letter_errors,
    mel_cepstral_distortion,
    spoken_letters,
)


@pytest.mark.parametrize(
    ("first", "second", "edits"),
    [
        ("", "", 0),
        ("casa", "casa", 0),
        ("casa", "", 4),
        ("gat", "gats", 1),
        ("kitten", "sitting", 3),
    ],
)
def test_edits_are_the_fewest(first, second, edits):
    assert edit_distance(first, second) == edit_distance(second, first) == edits


def test_what_sounds_alike_is_no_error():
    assert letter_errors("Tinc 2 gats, oi?", "tinc dos gats oi", "ca").edits == 0
    assert letter_errors("L'home col·lecciona", "lhome colecciona", "ca").edits == 1
    assert letter_errors("The twenty-first.", "the twentyfirst", "en").edits == 0


def test_accents_and_spaces_are_letters():
    assert letter_errors("És aquí.", "es aqui", "ca").edits == 2
    assert letter_errors("a casa", "acasa", "ca").edits == 1


def test_silence_has_every_letter_wrong_and_babble_more_than_all():
    assert letter_errors("Bon dia.", "", "ca").rate == 1.0
    assert letter_errors("Sí.", "sí sí sí sí", "es").rate > 1.0


def test_long_texts_count_for_more():
    total = LetterErrors.total([LetterErrors(1, 10), LetterErrors(0, 90)])

    assert total.rate == pytest.approx(0.01)


def test_letters_are_read_out_as_the_language_says_them():
    assert spoken_letters("3 cases", "ca") == "TRES CASES"


def sound(duration_sec: float, seed: int) -> torch.Tensor:
    """At 16 kHz; that it is heard as 22 050 Hz does not matter here."""
    return torch.from_numpy(warble(duration_sec * 22_050 / RATE, seed))


def test_a_sound_is_not_distant_from_itself_however_loud():
    wave = sound(1.0, seed=1)

    assert mel_cepstral_distortion(wave, wave) == 0
    assert mel_cepstral_distortion(wave, 0.5 * wave) < 0.2


def test_another_sound_is_further_than_the_same_one_with_noise_or_a_pause():
    wave, other = sound(1.0, seed=1), sound(1.0, seed=2)
    noisy = wave + 0.01 * torch.randn(len(wave), generator=torch.Generator().manual_seed(0))
    late = torch.cat([torch.zeros(4000), wave])

    far = mel_cepstral_distortion(wave, other)

    assert 0 < mel_cepstral_distortion(wave, noisy) < far
    assert mel_cepstral_distortion(wave, late) < far / 2


def test_distortion_is_the_known_one_of_two_tilted_spectra():
    """A tilt in the spectrum is one known cepstrum, so the formula can be checked by hand."""
    noise = torch.randn(22_050, generator=torch.Generator().manual_seed(0)) * 0.1
    spectrum = torch.fft.rfft(noise)
    band = torch.linspace(0, 1, len(spectrum))
    tilted = torch.fft.irfft(spectrum * torch.exp(-0.5 * band), len(noise))

    found = mel_cepstral_distortion(noise, tilted)

    assert 0.5 < found < 2.5  # 4.3 dB from end to end is 1.3 dB around its mean, less by the bands


def test_the_cheapest_path_goes_through_the_valley():
    cost = np.full((4, 6), 9.0)
    valley = [(0, 0), (1, 1), (1, 2), (2, 3), (3, 4), (3, 5)]
    for place in valley:
        cost[place] = 0.0

    assert cheapest_path(cost) == valley


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_a_path_begins_and_ends_in_the_corners(shape):
    path = cheapest_path(np.ones(shape))

    assert path[0] == (0, 0)
    assert path[-1] == (shape[0] - 1, shape[1] - 1)
    assert len(path) == max(shape)
