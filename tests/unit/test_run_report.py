"""The page of a run, of the records of one that really was and of what a probe leaves."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from idiolect.audio.io import write_wav
from idiolect.base.config import write_yaml
from idiolect.base.errors import ConfigError, GuardError
from idiolect.base.units import SAMPLE_RATE
from idiolect.training.config import TrainConfig
from idiolect.training.report import write_run_report

RUNS = Path(__file__).with_name("training_runs")
LOG = """\
2026-01-02 03:04:05,678 INFO idiolect 9.8.7
python 3.11.7
torch 2.13.0
device cpu
seed 1
2026-01-02 03:04:06,000 INFO vocabulary: 140 rows carried over, 15 composed, 1 new (·)
2026-01-02 03:04:07,000 WARNING left out 3 targets: its audio gave no features
2026-01-02 03:05:07,000 INFO idiolect 9.8.8
device cuda
2026-01-02 03:06:07,000 WARNING left out 3 targets: its audio gave no features
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """The folder of a run of one epoch, without its checkpoints."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(RUNS / "one_epoch.jsonl", folder / "metrics.jsonl")
    config = TrainConfig(output_name="catalan", tokenizer=Path("ca bpe.model"), epochs=1)
    write_yaml(folder / "config.yaml", config)
    (folder / "train.log").write_text(LOG, encoding="utf-8")
    return folder


def add(folder: Path, *records: dict) -> None:
    with (folder / "metrics.jsonl").open("a") as out:
        out.writelines(json.dumps(record) + "\n" for record in records)


def hear(folder: Path, step: int, *, is_best: bool = False, text: str = "", **cer: float) -> None:
    """Add what a probe leaves: a record and a tone for each language."""
    languages = {language: {"cer": rate, "similarity": 0.5} for language, rate in cer.items()}
    add(
        folder,
        {"kind": "probe", "step": step, "epoch": 1, "languages": languages, "is_best": is_best},
    )
    tone = np.sin(np.arange(SAMPLE_RATE // 2) * 0.06).astype(np.float32)
    place = folder / f"samples/step{step}"
    for language, rate in cer.items():
        (place / language).mkdir(parents=True)
        write_wav(place / language / "001.wav", tone, SAMPLE_RATE)
        line = {"sound": f"{language}/001.wav", "text": text, "heard": "bon dia", "cer": rate}
        if text:
            with (place / "spoken.jsonl").open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")


def page(folder: Path, *given, **named) -> str:
    return write_run_report(folder, *given, **named).read_text(encoding="utf-8")


def text_of(html: str) -> str:
    shown = re.sub(r"<style.*?</style>|<svg.*?</svg>|<[^>]+>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", shown)


def test_a_run_is_told_from_its_folder_alone(folder):
    html = page(folder)

    assert "Training catalan" in html
    assert "step 78, idiolect 9.8.8" in html
    assert "2.556 → 1.495" in html  # validation loss, before and at the best
    assert "26.2 → 45.5%" in html  # top-1
    assert html.count("<svg") == 5


def test_a_page_of_a_run_needs_nothing_beside_it(folder):
    hear(folder, 0, ca=0.5)

    html = page(folder)

    assert 'src="data:audio/' in html
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    for outside in ("<link", "<script", "@import"):
        assert outside not in html


def test_each_language_has_what_was_gained_or_lost(folder):
    hear(folder, 0, ca=0.5, en=0.08, es=0.1)
    hear(folder, 78, ca=0.25, en=0.12, es=0.05, is_best=True)

    text = text_of(page(folder, {"en", "es"}))

    assert "Catalan, letters wrong 50.0 → 25.0% before → best" in text
    assert "English, letters wrong 8.0 → 12.0% 4.0 points forgotten" in text
    assert "Spanish, letters wrong 10.0 → 5.0% 5.0 points better" in text
    assert "letters heard wrong; dashed: the base" in text


def test_each_language_has_its_loss_where_they_were_told_apart(folder):
    (folder / "metrics.jsonl").write_text("")
    losses = {"text_loss": 1.0, "mel_loss": 1.0, "mel_top1": 0.5, "epoch": 1, "kind": "val"}
    for step, ca, en in ((0, 3.5, 1.25), (9, 2.25, 1.5)):
        languages = {"ca": {"loss": ca}, "en": {"loss": en}}
        line = {**losses, "step": step, "loss": 2.0, "languages": languages, "is_best": step > 0}
        add(folder, line)

    text = text_of(page(folder))

    assert "validation loss 2.000 → 2.000 before → step 9" in text
    assert "Catalan, loss 3.500 → 2.250 before → step 9" in text
    assert "English, loss 1.250 → 1.500 before → step 9" in text


def test_sentences_are_heard_before_at_the_best_and_last(folder):
    for step in (0, 40, 78):
        hear(folder, step, ca=0.5, text="Bon dia <a>", is_best=step == 40)

    html = page(folder)

    assert "“Bon dia &lt;a&gt;” (ca)" in html
    for label in ("before: step 0", "best: step 40", "last: step 78"):
        assert f"<b>{label}</b><span>50% wrong</span>" in html
    assert html.count("<audio") == 3
    assert html.count("heard: “bon dia”") == 3


def test_a_sound_that_is_gone_is_said_to_be(folder):
    hear(folder, 0, ca=0.5)
    hear(folder, 78, ca=0.4, is_best=True)
    (folder / "samples/step78/ca/001.wav").unlink()

    html = page(folder)

    assert html.count("<audio") == 1
    assert "nothing was spoken" in html


def test_a_sound_that_was_made_anew_is_heard_anew(folder):
    hear(folder, 0, ca=0.5)
    before = page(folder)

    write_wav(folder / "samples/step0/ca/001.wav", np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)

    assert page(folder) != before


def test_every_validation_is_in_the_table_and_the_best_is_marked(folder):
    hear(folder, 0, ca=0.5)

    text = text_of(page(folder))

    assert "step epoch loss text codes top-1 ca wrong ca voice" in text
    assert "0 0 2.5563 4.8462 3.1954 26.2% 50.0% 0.50 8 1 1.9092" in text
    assert "78, the best 1 1.4947" in text


def test_a_table_that_would_be_long_keeps_its_ends_and_the_best(folder):
    losses = {"loss": 1.0, "text_loss": 1.0, "mel_loss": 1.0, "mel_top1": 0.5}
    line = {"kind": "val", "epoch": 1, **losses, "is_best": False}
    add(folder, *({**line, "step": 100 + n, "is_best": n == 333} for n in range(1000)))

    html = page(folder)

    rows = re.findall(r'data-label="step">([^<]+)<', html)
    assert 190 <= len(rows) <= 201
    assert (rows[0], rows[-1]) == ("0", "1099")
    assert "433, the best" in rows
    assert f"{len(rows)} of 1011, evenly chosen" in html


def test_what_is_to_be_known_stands_on_the_page(folder):
    shutil.copy(RUNS / "by_heart.jsonl", folder / "metrics.jsonl")

    html = page(folder)

    assert "the run learns by heart" in html
    assert "What to know" in html
    shutil.copy(RUNS / "one_epoch.jsonl", folder / "metrics.jsonl")
    assert "What to know" not in page(folder)


def test_speed_waiting_and_memory_are_told_where_they_were_measured(folder):
    pace = {"step_sec": 2.0, "wait_sec": 0.5, "audio_hours_per_hour": 12.0, "memory_bytes": 2**31}
    losses = {"loss": 1.0, "text_loss": 1.0, "mel_loss": 1.0, "mel_top1": 0.5, "lr": 1e-4}
    line = {"kind": "train", "epoch": 2, "grad_norm": 1.0, "tokens_per_sec": 900.0, "eta_sec": 60.0}
    (folder / "metrics.jsonl").write_text("")
    add(folder, *({**line, **losses, **pace, "step": step} for step in (10, 20, 30)))

    text = text_of(page(folder))

    assert "time 1 min 00 s 30 steps" in text
    assert "speed 12.0 × as fast as speech; 900 tokens a second" in text
    assert "waiting for data 25% of the time" in text
    assert "memory 2.0GB at most" in text
    assert "1 min 00 s to go when this was written" in text


def test_the_log_says_where_it_ran_and_each_warning_once(folder):
    text = text_of(page(folder))

    assert "begun 2026-01-02 03:04:05" in text
    assert "gone on with 1 times, last 2026-01-02 03:05:07" in text
    assert "device cuda" in text
    assert text.count("left out 3 targets") == 1
    assert "vocabulary: 140 rows carried over" in text


def test_only_settings_that_were_given_stand_in_the_table(folder):
    text = text_of(page(folder))

    assert "--epochs 1 10" in text
    assert "--grad-clip" not in text
    assert "grad_clip: 1.0" in text


def test_the_command_that_installs_needs_a_checkpoint(folder):
    assert "idiolect install" not in page(folder)

    (folder / "best.pth").touch()

    html = page(folder)
    assert (
        f"idiolect install --checkpoint {folder}/best.pth --tokenizer &#39;ca bpe.model&#39;"
        in html
    )
    assert "--output-name catalan" in html
    assert "<pre>do this</pre>" in page(folder, install_command="do this")


def test_a_run_of_which_nothing_was_measured_has_a_page_too(folder):
    for name in ("metrics.jsonl", "train.log"):
        (folder / name).unlink()

    assert "Nothing was measured yet." in page(folder)


def test_a_line_that_is_being_written_is_left_out(folder):
    with (folder / "metrics.jsonl").open("a") as out:
        out.write('{"kind": "val", "st')

    assert "2.556 → 1.495" in page(folder)


def test_a_folder_without_a_run_has_no_page(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file: .*config\.yaml"):
        write_run_report(tmp_path)


def test_no_page_is_written_into_a_base(folder):
    for name in ("gpt.pth", "s2mel.pth"):
        (folder / name).touch()

    with pytest.raises(GuardError):
        write_run_report(folder)


def test_ten_thousand_lines_make_a_small_page_soon(folder):
    record = {
        "kind": "train",
        "epoch": 1,
        "loss": 1.0,
        "text_loss": 1.0,
        "mel_loss": 1.0,
        "mel_top1": 0.5,
        "lr": 1e-4,
        "grad_norm": 1.0,
        "tokens_per_sec": 9.0,
        "eta_sec": 0.0,
        "step_sec": 1.0,
        "wait_sec": 0.0,
        "audio_hours_per_hour": 1.0,
    }
    add(folder, *({**record, "step": 100 + n} for n in range(10_000)))
    page(folder)  # the libraries are loaded once

    begun = time.process_time()
    html = page(folder)

    assert time.process_time() - begun < 5  # one on an idle core, two beside other work
    assert len(html) < 400_000
