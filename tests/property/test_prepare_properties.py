import json
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.data.file_index import AUDIO_SUFFIXES, FileIndex
from idiolect.data.manifest import Utterance, read_manifest, write_manifest
from idiolect.data.sources import Clip, open_source
from idiolect.data.split import Speakers, plan_split
from idiolect.data.transcripts import open_transcript

LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
PLAIN = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters=LINE_ENDS)
TEXTS = st.text(PLAIN, min_size=1).filter(lambda text: text.split())
SENTENCES = TEXTS.map(lambda text: f"Diu: {text}")
NAMES = st.sampled_from(["a", "b", "c", "nobody"])


def written(folder, text):
    path = Path(folder) / "t.txt"
    path.write_bytes(text.encode("utf-8"))
    for name in ("a.wav", "b.wav", "c.wav"):
        (Path(folder) / name).touch()
    return path


def clean(text):
    return " ".join(text.split())


@settings(deadline=None)
@given(texts=st.lists(SENTENCES, min_size=1, max_size=5))
def test_any_text_of_a_table_with_a_header_arrives_as_it_was_written(texts):
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, "file|text\n" + "".join(f"a|{text}\n" for text in texts))
        audio = FileIndex(Path(folder), AUDIO_SUFFIXES)

        assert [row.text for row in open_transcript(path, audio).rows()] == list(map(clean, texts))


@settings(deadline=None)
@given(text=TEXTS)
def test_any_text_arrives_through_json_lines_and_a_manifest(text):
    with tempfile.TemporaryDirectory() as folder:
        record = {"audio": "a.wav", "text": text}
        path = written(folder, json.dumps(record, ensure_ascii=False) + "\n")
        audio = FileIndex(Path(folder), AUDIO_SUFFIXES)
        (row,) = open_transcript(path, audio).rows()
        utterance = Utterance(
            id=text,
            audio="a.wav",
            root=Path(folder),
            text=row.text,
            speaker=text,
            language="ca",
            duration_sec=1.0,
        )

        write_manifest(Path(folder) / "m.jsonl", [utterance])

        assert list(read_manifest(Path(folder) / "m.jsonl")) == [utterance]
        assert row.text == clean(text)


@settings(deadline=None)
@given(lines=st.lists(st.tuples(NAMES, st.one_of(SENTENCES, st.just("")))), junk=st.binary())
def test_no_line_and_no_file_is_lost(lines, junk):
    with tempfile.TemporaryDirectory() as folder:
        good = "".join(f"{name}.wav|{text}\n" for name, text in [("a", "Hola."), *lines])
        path = written(folder, good)
        one_line = junk.replace(b"\n", b" ").replace(b"\r", b" ")
        with path.open("ab") as out:
            out.write(one_line + b"\n")
        source = open_source(Path(folder), path, speaker_from="one", speaker="anna")

        found = list(replace(source, language="ca").clips())

        says_something = one_line.decode("utf-8", "replace").removeprefix("\ufeff").strip()
        of_lines = [f for f in found if f.where.startswith(f"{path}:")]
        of_files = {f.name for f in found if f not in of_lines}
        assert len(of_lines) == len(lines) + 1 + bool(says_something)
        assert all(isinstance(f, Clip) or f.reason for f in found)
        assert {c.audio for c in of_lines if isinstance(c, Clip)}.isdisjoint(of_files)
        named = {f"{name}.wav" for name, text in lines if text} | {"a.wav"}
        assert of_files | named >= {"a.wav", "b.wav", "c.wav"}


CLIPS = st.lists(
    st.tuples(st.sampled_from(["anna", "biel", "carla"]), st.integers(0, 400).map(str)),
    max_size=150,
)


def sides(clips, share):
    told = Speakers()
    for speaker, text in clips:
        told.add(speaker, text)
    split = plan_split(told, share)
    return split, {clip: split.holds_out(*clip) for clip in clips}


@given(clips=CLIPS, added=CLIPS)
def test_adding_lines_moves_no_more_than_two_sentences_of_a_speaker(clips, added):
    _, before = sides(clips, 0.1)
    _, after = sides([*clips, *added], 0.1)

    for speaker in ("anna", "biel", "carla"):
        moved = [c for c in before if c[0] == speaker and before[c] and not after[c]]
        assert len(moved) <= 2


@given(clips=CLIPS)
def test_each_held_out_clip_has_a_prompt_and_leaves_some_for_training(clips):
    _, side = sides(clips, 0.1)

    for speaker in ("anna", "biel", "carla"):
        ours = {clip: held for clip, held in side.items() if clip[0] == speaker}
        held = sum(ours.values())
        assert held != 1
        assert not held or len(ours) - held >= 2


@given(num_speakers=st.integers(20, 120), num_more=st.integers(0, 60))
def test_adding_speakers_moves_no_held_out_speaker_but_a_lone_one(num_speakers, num_more):
    clips = [(f"s{s}", f"{s} {n}") for s in range(num_speakers) for n in range(3)]
    more = [(f"t{s}", f"t{s} {n}") for s in range(num_more) for n in range(3)]

    before, after = sides(clips, 0.05)[0], sides([*clips, *more], 0.05)[0]

    assert before.by == after.by == "speaker"
    gone = before.limits.keys() - after.limits.keys()
    assert not gone or len(before.limits) == 1
