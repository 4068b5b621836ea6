import json
import shutil

import numpy as np
import pytest
import soundfile

from clips import RATE, TEXTS, sound, write_clip, write_corpus
from idiolect.base.errors import ConfigError, DataError, GuardError
from idiolect.data.manifest import read_manifest
from idiolect.data.prepare import PrepareConfig, prepare


def corpus(folder, count=10, extra=""):
    """Write ``count`` clips and their transcript; return what prepare needs."""
    audio = write_corpus(folder / "audio", [f"{n:02d}.wav" for n in range(count)])
    lines = [f"{n:02d}.wav|{TEXTS[n % len(TEXTS)]}" for n in range(count)]
    transcript = folder / "catalan.txt"
    transcript.write_text("\n".join(lines) + "\n" + extra, "utf-8")
    return {
        "audio_dir": audio,
        "transcript_file": transcript,
        "output_manifest": folder / "data" / "train.jsonl",
    }


def config(**settings):
    return PrepareConfig(**settings)


def rejected(report):
    return [json.loads(line) for line in report.rejected.read_text("utf-8").splitlines()]


def test_the_guides_command_needs_no_other_flag(tmp_path):
    report = prepare(config(**corpus(tmp_path)))

    assert (report.found, report.kept, report.languages) == (10, 10, ("ca",))
    assert (report.num_train, report.num_validation) == (8, 2)
    utterances = list(read_manifest(report.train)) + list(read_manifest(report.validation))
    assert {u.text for u in utterances} == set(TEXTS)
    assert all(u.audio_path.is_file() and u.duration_sec == 2.5 for u in utterances)
    assert next(read_manifest(report.train)).audio == "../audio/00.wav"
    assert rejected(report) == []
    assert "<title>Data: data</title>" in report.page.read_text("utf-8")


BAD_CLIPS = {
    "empty": "the audio file is empty",
    "truncated": "the audio file is cut short",
    "noise": "not audio",
    "nan": "the audio holds samples that are not numbers (NaN or infinite)",
    "silence": "the clip is too quiet",
    "clipped": "the clip is clipped",
    "tenth": "the clip is too short",
    "hours": "the clip is too long",
    "phone": "the sample rate is too low",
    "seven": "the clip has too many channels",
}


def write_bad_clips(folder):
    """Write each kind of clip that cannot be learnt from."""
    good = sound()
    (folder / "empty.wav").write_bytes(b"")
    whole = write_clip(folder / "truncated.wav").read_bytes()
    (folder / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "noise.wav").write_bytes(b"this is not audio at all" * 50)
    nan = good.copy()
    nan[100] = np.nan
    soundfile.write(folder / "nan.wav", nan, RATE, subtype="FLOAT")
    soundfile.write(folder / "silence.wav", 0 * good, RATE)
    soundfile.write(folder / "clipped.wav", np.clip(5 * good, -1, 1), RATE)
    write_clip(folder / "tenth.wav", seconds=0.1)
    soundfile.write(folder / "hours.flac", np.zeros(7200 * RATE // 16, np.int16), RATE // 16)
    write_clip(folder / "phone.wav", rate=8000)
    soundfile.write(folder / "seven.wav", np.stack([good] * 7, axis=1), RATE)


def test_each_bad_clip_is_left_out_by_its_reason_and_the_run_goes_on(tmp_path):
    lines = "".join(f"{name}|La frase del clip {name}.\n" for name in BAD_CLIPS)
    settings = corpus(tmp_path, extra=lines)
    write_bad_clips(settings["audio_dir"])

    report = prepare(config(**settings, allow_skips=True))

    reasons = {row["id"]: row["reason"] for row in rejected(report)}
    assert reasons.keys() == BAD_CLIPS.keys()
    for name, reason in BAD_CLIPS.items():
        assert reasons[name].startswith(reason)
    assert (report.found, report.kept, report.left_out.total()) == (20, 10, 10)
    page = report.page.read_text("utf-8")
    for reason in BAD_CLIPS.values():
        assert reason in page


def test_more_than_a_tenth_of_bad_lines_stops_before_any_audio_is_heard(tmp_path, monkeypatch):
    settings = corpus(tmp_path, extra="x.wav|No hi és.\ny.wav|Tampoc.\n03|Dues vegades.\n")
    monkeypatch.setattr("idiolect.data.prepare.measure_clips", lambda *_, **__: pytest.fail("ran"))

    with pytest.raises(DataError) as caught:
        prepare(config(**settings))

    lines = str(caught.value)
    transcript = settings["transcript_file"]
    assert "3 of 13 lines and files cannot be used" in lines
    assert f"{transcript}:11: no audio file has this name (x.wav)" in lines
    assert f"{transcript}:12: no audio file has this name (y.wav)" in lines
    assert f"id '03' is used twice, first at {transcript}:4" in lines
    assert "put the file anywhere below --audio-dir" in lines
    assert "or give --allow-skips to go on without them" in lines
    assert not settings["output_manifest"].exists()


def test_a_few_bad_lines_are_listed_and_the_run_goes_on(tmp_path, caplog):
    settings = corpus(tmp_path, count=40, extra="x.wav|No hi és.\n")

    with caplog.at_level("WARNING", "idiolect"):
        report = prepare(config(**settings))

    assert f"{settings['transcript_file']}:41: no audio file has this name (x.wav)" in caplog.text
    assert rejected(report)[0]["where"] == f"{settings['transcript_file']}:41"


def test_more_than_a_tenth_of_bad_clips_writes_the_report_and_no_manifest(tmp_path):
    settings = corpus(tmp_path)
    for name in ("00.wav", "01.wav"):
        write_clip(settings["audio_dir"] / name, seconds=0.2)

    with pytest.raises(DataError) as caught:
        prepare(config(**settings))

    message = str(caught.value)
    page = tmp_path / "data" / "report.html"
    assert "2 of 10 clips are left out, more than 10%; no manifest is written" in message
    assert "2 x the clip is too short" in message
    assert str(page) in message
    assert "no manifest was written" in page.read_text("utf-8")
    assert not settings["output_manifest"].exists()


def test_allowing_skips_after_a_stop_hears_no_clip_again(tmp_path, monkeypatch):
    settings = corpus(tmp_path)
    write_clip(settings["audio_dir"] / "00.wav", seconds=0.2)
    write_clip(settings["audio_dir"] / "01.wav", seconds=0.2)
    with pytest.raises(DataError):
        prepare(config(**settings))
    monkeypatch.setattr(
        "idiolect.data.measurements.measure_file", lambda *_: pytest.fail("heard again")
    )

    assert prepare(config(**settings, allow_skips=True)).kept == 8


@pytest.mark.parametrize(
    ("transcript", "output", "problem"),
    [
        ("text.txt", "data/train.jsonl", "no name says it"),
        ("spanish.txt", "data/ca/train.jsonl", "the names of files say ca and es"),
    ],
)
def test_a_language_that_cannot_be_told_is_asked_for(tmp_path, transcript, output, problem):
    settings = corpus(tmp_path)
    shutil.copy(settings["transcript_file"], tmp_path / transcript)
    settings |= {"transcript_file": tmp_path / transcript, "output_manifest": tmp_path / output}

    with pytest.raises(ConfigError, match=problem) as caught:
        prepare(config(**settings))

    assert "--language ca" in str(caught.value)
    assert prepare(config(**settings, language="gsw")).languages == ("gsw",)


def test_a_word_that_is_no_code_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'my own tongue' is not the code of a language"):
        prepare(config(**corpus(tmp_path), language="my own tongue"))


def test_a_base_folder_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    settings = corpus(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "link").symlink_to("checkpoints")

    for folder in ("checkpoints", "link", "audio/../checkpoints"):
        with pytest.raises(GuardError, match="would write into the base folder"):
            prepare(config(**settings | {"output_manifest": tmp_path / folder / "train.jsonl"}))

    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_subtitles_cut_a_recording_and_copies_are_cut_too(tmp_path):
    soundfile.write(tmp_path / "talk.wav", np.concatenate([sound(3.0, n) for n in range(8)]), RATE)
    cues = [f"00:00:{3 * n:02d},000 --> 00:00:{3 * n + 2:02d},500\n{TEXTS[n]}\n" for n in range(8)]
    (tmp_path / "talk.ca.srt").write_text("\n".join(cues), "utf-8")
    settings = {"audio_dir": tmp_path, "transcript_file": tmp_path / "talk.ca.srt"}
    settings |= {"output_manifest": tmp_path / "out" / "train.jsonl", "language": "ca"}

    cut = list(read_manifest(prepare(config(**settings)).train))
    copied = list(read_manifest(prepare(config(**settings, copy=True)).train))

    assert [(u.audio, u.source) for u in cut[:1]] == [("../talk.wav", "talk")]
    assert cut[0].end_sec - cut[0].start_sec == 2.5
    assert [u.id for u in copied] == [u.id for u in cut]
    for utterance in copied:
        info = soundfile.info(str(utterance.audio_path))
        assert (info.format, info.channels, info.duration) == ("FLAC", 1, 2.5)
        assert utterance.audio.startswith("audio/")
        assert (utterance.start_sec, utterance.end_sec) == (None, None)


def test_a_copy_has_one_channel_and_no_useless_rate(tmp_path):
    settings = corpus(tmp_path)
    for n in range(10):
        audio = sound(seed=n, rate=48_000)
        soundfile.write(settings["audio_dir"] / f"{n:02d}.wav", np.stack([audio] * 2, 1), 48_000)

    (first, *_) = read_manifest(prepare(config(**settings, copy=True)).train)

    info = soundfile.info(str(first.audio_path))
    assert (info.samplerate, info.channels, info.duration) == (24_000, 1, 2.5)


def test_an_id_with_dots_and_slashes_writes_nothing_outside(tmp_path):
    settings = corpus(tmp_path)
    rows = [
        {"id": f"../../../broke_out{n}", "audio": f"{n:02d}.wav", "text": TEXTS[n]}
        for n in range(10)
    ]
    path = tmp_path / "catalan.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    report = prepare(config(**settings | {"transcript_file": path}, copy=True))

    assert next(read_manifest(report.train)).id == "../../../broke_out0"
    assert not list(tmp_path.parent.rglob("*broke_out*"))


def test_a_validation_manifest_of_an_earlier_run_does_not_stay(tmp_path):
    settings = corpus(tmp_path)
    first = prepare(config(**settings))

    second = prepare(config(**settings, val_share=0.0))

    assert not first.validation.exists()
    assert (second.num_train, second.validation) == (10, None)


def test_a_full_disk_leaves_the_old_manifest_whole(tmp_path, monkeypatch):
    settings = corpus(tmp_path)
    old = prepare(config(**settings)).train.read_bytes()

    def fill(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("idiolect.base.files.json.dumps", fill)
    with pytest.raises(OSError, match="No space left"):
        prepare(config(**settings))

    assert settings["output_manifest"].read_bytes() == old
    assert not list((tmp_path / "data").glob("*.partial"))


@pytest.mark.parametrize(
    ("settings", "flag"),
    [({"max_silence": 1.5}, "--max-silence"), ({"val_share": 0.9}, "--val-share")],
)
def test_a_share_out_of_range_names_its_flag(tmp_path, settings, flag):
    with pytest.raises(ConfigError) as caught:
        config(audio_dir=tmp_path, output_manifest=tmp_path / "m.jsonl", **settings)

    assert flag in str(caught.value)
