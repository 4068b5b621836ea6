"""Recordings looked at before they are prepared, and what was left out of them."""

from __future__ import annotations

import base64
import io
import json
import stat
import zipfile
from pathlib import Path

import pytest
import soundfile

from clips import write_clip
from idiolect.base.errors import DataError
from idiolect.studio import dataset
from idiolect.studio.shown_page import framed_report
from idiolect.studio.sounds import sound_address
from idiolect.studio.uploads import take_uploads
from registry_kit import make_tokenizer
from run_kit import write_clips


@pytest.fixture
def recordings(tmp_path) -> Path:
    folder = tmp_path / "catalan"
    for name in ("marta/1", "marta/2", "biel/1", "biel/3", "biel/4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_clip(folder / f"{name}.wav", seconds=1.5)
    lines = ["marta/1|Bon dia.", "marta/2|Adéu.", "biel/1|Hola.", "biel/9|Res."]
    (folder / "metadata.csv").write_text("\n".join(lines))
    return folder


def packed(path: Path, *names: str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def test_a_preview_says_what_is_there_and_what_is_wrong(recordings):
    found = dataset.preview(recordings)

    assert (found.num_audio, found.num_clips) == (5, 3)
    assert found.speakers == {"marta": 2, "biel": 1}
    assert found.languages == {"ca": 3}, "the name of the folder tells"
    assert found.seconds == pytest.approx(4.5)
    assert not found.is_estimate
    assert found.faults == {
        "no audio file has this name": 1,
        "no line of the transcript names this audio": 2,
    }
    assert [row.text for row in found.rows] == ["Bon dia.", "Adéu.", "Hola."]


def test_a_preview_of_many_clips_estimates_their_length(recordings, monkeypatch):
    monkeypatch.setattr(dataset, "SAMPLED_CLIPS", 2)

    found = dataset.preview(recordings)

    assert found.is_estimate
    assert found.seconds == pytest.approx(4.5)


def test_left_out_clips_are_counted_and_leafed_through_by_reason(tmp_path):
    path = tmp_path / "rejected.jsonl"
    records = [{"reason": "a", "id": f"{n}", "audio": f"{n}.wav"} for n in range(3)]
    records += [{"reason": "b", "name": "line", "text": "Res."}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))

    assert dataset.rejected_counts(path) == {"a": 3, "b": 1}
    assert [c.name for c in dataset.rejected_clips(path, "a", first=1, count=5)] == ["1", "2"]
    (line,) = dataset.rejected_clips(path, "b", count=5)
    assert (line.name, line.audio) == ("line", None)
    assert dataset.rejected_counts(tmp_path / "none.jsonl") == {}


def test_what_a_tokenizer_cannot_spell_is_shown_in_a_text(tmp_path):
    manifest = write_clips(tmp_path / "data", 3)
    lines = manifest.read_text().splitlines()
    strange = json.loads(lines[1]) | {"text": "Bon dia, Жан."}
    manifest.write_text("\n".join([lines[0], json.dumps(strange), lines[2]]))
    tokenizer = make_tokenizer(tmp_path / "ca.model")

    report = dataset.coverage(tokenizer.path, manifest)
    found = dataset.unknown_with_examples(report, tokenizer.path, manifest)

    assert report.num_texts == 3
    assert report.num_unknown == sum(count for _, count, _ in found) > 0
    assert {example for _, _, example in found} == {"Bon dia, Жан."}


def test_uploaded_files_and_archives_come_into_the_folder(tmp_path):
    clip = write_clip(tmp_path / "one.wav", seconds=0.2)
    archive = packed(
        tmp_path / "more.zip", "a/two.wav", "a/.hidden.wav", "run.exe", "__MACOSX/x.wav"
    )

    count = take_uploads([clip, archive], tmp_path / "taken")

    assert count == 2
    taken = {str(p.relative_to(tmp_path / "taken")) for p in (tmp_path / "taken").rglob("*.*")}
    assert taken == {"one.wav", "a/two.wav"}


@pytest.mark.parametrize("name", ["../x.wav", "/x.wav", "a/../../x.wav", "..\\x.wav", "C:\\x.wav"])
def test_an_archive_whose_names_lead_elsewhere_is_not_unpacked(tmp_path, name):
    archive = packed(tmp_path / "bad.zip", "good.wav", name)

    with pytest.raises(DataError, match="leads elsewhere"):
        take_uploads([archive], tmp_path / "in" / "taken")

    assert list(tmp_path.rglob("*.wav")) == []


def test_an_archive_with_a_link_or_a_bomb_is_not_unpacked(tmp_path):
    link = zipfile.ZipInfo("link.wav")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.wav", bytes(5_000_000))

    for name, problem in (("link", "holds a link"), ("bomb", "packed tighter")):
        with pytest.raises(DataError, match=problem):
            take_uploads([tmp_path / f"{name}.zip"], tmp_path / "taken")
    assert not (tmp_path / "taken").exists()


def test_what_is_no_archive_and_what_is_no_sound_are_refused(tmp_path):
    (tmp_path / "no.zip").write_bytes(b"PK no zip at all")
    (tmp_path / "run.exe").write_bytes(b"MZ")

    with pytest.raises(DataError, match="cannot be unpacked"):
        take_uploads([tmp_path / "no.zip"], tmp_path / "taken")
    with pytest.raises(DataError, match="nothing among the uploaded"):
        take_uploads([tmp_path / "run.exe"], tmp_path / "taken")


def test_a_part_of_a_recording_travels_inside_the_page(tmp_path):
    clip = write_clip(tmp_path / "clip.wav", seconds=2.0)

    address = sound_address(clip, 0.5, 1.5)

    kind, _, content = address.partition(";base64,")
    assert kind == "data:audio/ogg"
    assert soundfile.info(io.BytesIO(base64.b64decode(content))).duration == pytest.approx(
        1, abs=0.1
    )
    assert sound_address(tmp_path / "none.wav") is None


def test_a_report_is_framed_with_its_sounds_and_without_those_of_others(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    write_clip(root / "in.wav", seconds=0.2)
    write_clip(tmp_path / "out.wav", seconds=0.2)
    player = '<audio controls preload="none" src="{}" aria-label="x"></audio>'
    page = f'<p>"q"</p><script>1</script>{player.format("in.wav")}{player.format("../out.wav#t=1")}'
    (root / "report.html").write_text(page)

    frame = framed_report(root / "report.html", [root], title="<Report>")

    assert frame.startswith('<iframe title="&lt;Report&gt;" sandbox="" ')
    assert frame.count("&lt;audio") == 1
    assert "base64," in frame
    assert "<script>" not in frame
    assert "out.wav" not in frame
