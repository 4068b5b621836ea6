"""Clips of visitors are judged by content and kept alike; voices have safe names."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from clips import sound, write_clip
from idiolect.base.errors import DataError, SynthesisError, UserError
from idiolect.studio import clips
from idiolect.studio.clips import ClipStore, canonical_wav
from idiolect.studio.voices import VoiceLibrary


def test_a_clip_becomes_wav_of_one_channel_at_its_own_rate(tmp_path):
    stereo = np.stack([sound(rate=44_100), sound(rate=44_100)], axis=1)
    soundfile.write(tmp_path / "clip.flac", stereo, 44_100)

    kept = ClipStore(tmp_path / "kept").keep(tmp_path / "clip.flac")

    header = soundfile.info(kept)
    assert (header.format, header.subtype, header.channels) == ("WAV", "PCM_16", 1)
    assert header.samplerate == 44_100
    assert header.duration == pytest.approx(2.5)


def test_a_kept_clip_is_kept_as_it_is(tmp_path):
    store = ClipStore(tmp_path / "kept")
    kept = store.keep(write_clip(tmp_path / "clip.flac"))

    assert store.keep(kept) == kept
    assert canonical_wav(kept) == kept.read_bytes()
    assert len(list(store.folder.iterdir())) == 1


def test_the_name_of_an_upload_says_nothing(tmp_path):
    write_clip(tmp_path / "clip.wav").rename(tmp_path / "clip.txt")

    assert ClipStore(tmp_path / "kept").keep(tmp_path / "clip.txt").is_file()


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile 'a.wav'\n",
        b"hello",
    ],
)
def test_a_list_of_other_files_is_no_sound(tmp_path, content):
    (tmp_path / "clip.wav").write_bytes(content)

    with pytest.raises(DataError, match="not a file of sound"):
        ClipStore(tmp_path / "kept").keep(tmp_path / "clip.wav")


@pytest.mark.parametrize(
    ("limit", "value", "told"),
    [
        ("MAX_CLIP_BYTES", 1000, "are the most"),
        ("MAX_CLIP_SEC", 1.0, "lasts 2.5 s"),
        ("MAX_SAMPLES", 1000, "lasts 2.5 s"),
    ],
)
def test_too_much_is_refused_before_it_is_decoded(tmp_path, monkeypatch, limit, value, told):
    monkeypatch.setattr(clips, limit, value)
    monkeypatch.delattr(clips, "_pcm")

    with pytest.raises(DataError, match=told):
        canonical_wav(write_clip(tmp_path / "clip.wav"))


def test_a_voice_is_added_found_and_removed(tmp_path):
    library = VoiceLibrary(tmp_path / "voices")
    assert library.names() == []

    library.add("anna", write_clip(tmp_path / "a.flac"), whose="Anna, who agreed")

    assert library.names() == ["anna"]
    assert library.path("anna").is_file()
    assert library.note("anna").whose == "Anna, who agreed"
    assert library.note("anna").duration_sec == pytest.approx(2.5)
    library.remove("anna")
    assert list(library.folder.iterdir()) == []


@pytest.mark.parametrize("name", ["../anna", "a/b", "", ".anna", "anna\0", "x" * 65, "ànna"])
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path, name):
    library = VoiceLibrary(tmp_path / "voices")

    for ask in (
        lambda: library.add(name, write_clip(tmp_path / "a.wav")),
        lambda: library.path(name),
    ):
        with pytest.raises(UserError):
            ask()
    assert not library.folder.exists()


def test_a_voice_is_not_replaced_by_accident(tmp_path):
    library = VoiceLibrary(tmp_path / "voices")
    library.add("anna", write_clip(tmp_path / "a.wav"))

    with pytest.raises(DataError, match="already"):
        library.add("anna", write_clip(tmp_path / "b.wav", seed=2))
    library.add("anna", write_clip(tmp_path / "b.wav", seed=2), replace=True)


def test_an_unknown_voice_names_the_known_ones(tmp_path):
    library = VoiceLibrary(tmp_path / "voices")
    library.add("anna", write_clip(tmp_path / "a.wav"))

    with pytest.raises(SynthesisError) as caught:
        library.path("ana")
    assert "did you mean 'anna'" in caught.value.fix
