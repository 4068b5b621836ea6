import json
import math
import time
from dataclasses import asdict

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from idiolect.audio.io import write_wav
from idiolect.base.units import SAMPLE_RATE
from idiolect.training.loss import LabelCounts, LossWeights
from idiolect.training.metrics import (
    LanguageMeters,
    Meter,
    MetricsLog,
    Scores,
    peak_memory_bytes,
)
from idiolect.training.probing import LanguageScores
from idiolect.training.step import StepReport

WEIGHTS = LossWeights(text=0.2, codes=0.8)
SCORES = Scores(loss=2.0, text_loss=3.0, mel_loss=1.75, mel_top1=0.5)


def step_report(step: int, **given) -> StepReport:
    plain = {
        "epoch": 1,
        "text_sum": 1.0,
        "code_sum": 1.0,
        "num_correct": 1,
        "kl_sum": 0.0,
        "counts": LabelCounts(text=1, codes=1),
        "grad_norm": 0.5,
        "learning_rate": 1e-4,
    }
    return StepReport(step=step, **(plain | given))


def report_train(log: MetricsLog, step: int, **given) -> None:
    pace = {"last_step": 100, "elapsed_sec": 4.0, "num_labels": 1000, "num_steps": 10}
    log.report_train(step_report(step), SCORES, **(pace | given))


def written(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def board(folder) -> EventAccumulator:
    return EventAccumulator(str(folder / "runs")).Reload()


def speak(folder, count: int, *, language="ca", step=5) -> list:
    """Write ``count`` tones as a probe leaves them."""
    tone = np.sin(np.arange(SAMPLE_RATE // 2) * 0.06).astype(np.float32)
    paths = [folder / f"samples/step{step}/{language}/{n:03d}.wav" for n in range(1, count + 1)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, tone, SAMPLE_RATE)
    return paths


def test_each_language_has_its_own_mean_and_the_total_counts_every_token_once():
    meters = LanguageMeters()

    meters.add("en", 9.0, 90.0, 9, LabelCounts(text=9, codes=90))
    meters.add("ca", 8.0, 40.0, 1, LabelCounts(text=1, codes=5))
    meters.add("ca", 0.0, 10.0, 4, LabelCounts(text=1, codes=5))

    scores = meters.scores(WEIGHTS)
    assert list(scores) == ["ca", "en"]
    assert (scores["ca"].text_loss, scores["ca"].mel_loss, scores["ca"].mel_top1) == (4, 5, 0.5)
    assert meters.total() == Meter(17.0, 140.0, 14, 11, 100)
    assert meters.total().scores(WEIGHTS).mel_loss == 1.4


def test_a_line_of_progress_says_how_fast_it_went_and_how_long_data_was_waited_for(tmp_path):
    log = MetricsLog(tmp_path, first_step=1)

    report_train(log, 10, num_codes=36_000, wait_sec=1.0, memory_bytes=2**30)

    log.close()
    (line,) = written(tmp_path)
    assert (line["step_sec"], line["wait_sec"], line["tokens_per_sec"]) == (0.4, 0.1, 250)
    assert line["audio_hours_per_hour"] == 180  # 36 000 codes are 12 minutes
    assert (line["memory_bytes"], line["eta_sec"]) == (2**30, 36)


def test_the_distance_to_the_base_is_told_where_its_languages_are_learnt(tmp_path):
    log = MetricsLog(tmp_path, first_step=1)
    pace = {"last_step": 9, "elapsed_sec": 1.0, "num_labels": 9, "num_steps": 1}

    counts = LabelCounts(text=1, codes=9, base_codes=4)
    log.report_train(step_report(1, kl_sum=2.0, counts=counts), SCORES, **pace)
    log.report_train(step_report(2), SCORES, **pace)

    log.close()
    assert [line.get("base_kl") for line in written(tmp_path)] == [0.5, None]


def test_the_memory_of_a_cpu_is_that_of_the_process():
    size = peak_memory_bytes(torch.device("cpu"))

    assert 2**25 < size < 2**38


def test_a_validation_has_the_losses_of_each_language(tmp_path, caplog):
    log = MetricsLog(tmp_path, first_step=1)
    other = Scores(loss=4.0, text_loss=5.0, mel_loss=3.75, mel_top1=0.25)

    with caplog.at_level("INFO"):
        log.report_val(7, 2, SCORES, {"ca": SCORES, "en": other}, is_best=True)

    log.close()
    (line,) = written(tmp_path)
    assert line["languages"]["en"] == {
        "loss": 4.0,
        "text_loss": 5.0,
        "mel_loss": 3.75,
        "mel_top1": 0.25,
    }
    assert line["loss"] == 2.0
    assert board(tmp_path).Scalars("val/en/mel_top1")[0].value == 0.25
    assert "the best so far; ca 2.0000; en 4.0000" in caplog.text


def test_the_scores_of_a_probe_are_written_by_the_names_of_the_contract(tmp_path):
    log = MetricsLog(tmp_path, first_step=1)
    heard = LanguageScores(
        sentences=8,
        cer=0.1,
        wer=0.2,
        similarity=0.3,
        leak_rate=0.4,
        lost_end_rate=0.5,
        missing_end_rate=0.6,
        rate_ratio=0.7,
        duration_sec=0.8,
    )

    log.report_probe(5, 1, {"ca": asdict(heard)}, [], is_best=True)

    log.close()
    assert written(tmp_path)[0]["languages"]["ca"] == {
        "sentences": 8,
        "cer": 0.1,
        "wer": 0.2,
        "similarity": 0.3,
        "leak_rate": 0.4,
        "lost_end_rate": 0.5,
        "missing_end_rate": 0.6,
        "rate_ratio": 0.7,
        "duration_sec": 0.8,
    }


def test_a_probe_has_what_was_measured_and_no_more(tmp_path):
    log = MetricsLog(tmp_path, first_step=1)

    log.report_probe(
        *(5, 1),
        {"ca": {"cer": 0.25, "wer": None, "similarity": math.nan, "sentences": 8}},
        speak(tmp_path, 3),
        is_best=False,
    )

    log.close()
    assert written(tmp_path) == [
        {
            "kind": "probe",
            "step": 5,
            "epoch": 1,
            "languages": {"ca": {"cer": 0.25, "sentences": 8}},
            "is_best": False,
        }
    ]


def test_the_board_gets_two_sentences_of_each_language_with_their_spectrograms(tmp_path):
    log = MetricsLog(tmp_path, first_step=1)

    sounds = [*speak(tmp_path, 3), *speak(tmp_path, 1, language="en")]
    log.report_probe(5, 1, {"ca": {"cer": 0.25}}, sounds, is_best=False)

    log.close()
    shown = board(tmp_path)
    tags = ["probe/ca/001", "probe/ca/002", "probe/en/001"]
    assert shown.Tags()["audio"] == tags
    assert shown.Tags()["images"] == [f"{tag}/mel" for tag in tags]
    assert shown.Audio("probe/ca/001")[0].sample_rate == SAMPLE_RATE
    assert shown.Images("probe/ca/001/mel")[0].height == 80
    assert shown.Scalars("probe/ca/cer")[0].value == 0.25


def run_to(folder, last_step: int, *, first_step: int, loss: float) -> None:
    """Report a part of a run, every kind of line at every step.

    TensorBoard orders the files of a folder by the second in their names, so each has its own.
    """
    time.sleep(1.01 - time.time() % 1)
    log = MetricsLog(folder, first_step=first_step)
    scores = Scores(loss=loss, text_loss=1.0, mel_loss=1.0, mel_top1=0.5)
    if first_step == 1:
        log.report_val(0, 0, scores, is_best=False)
        log.report_rows(0, 0, learnt=3, total=4)
    for step in range(first_step, last_step + 1):
        report_train(log, step)
        log.report_val(step, 1, scores, {"ca": scores}, is_best=False)
        sounds = speak(folder, 1, step=step)
        log.report_probe(step, 1, {"ca": {"cer": loss}}, sounds, is_best=False)
    log.close()


def test_what_comes_again_is_there_once_in_the_file_and_on_the_board(tmp_path):
    run_to(tmp_path, 5, first_step=1, loss=1.0)

    run_to(tmp_path, 4, first_step=3, loss=2.0)

    kinds = {kind: [] for kind in ("val", "train", "probe", "rows")}
    for line in written(tmp_path):
        kinds[line["kind"]].append(line["step"])
    assert kinds == {
        "val": [0, 1, 2, 3, 4],
        "train": [1, 2, 3, 4],
        "probe": [1, 2, 3, 4],
        "rows": [0],
    }
    shown = board(tmp_path)
    for tag in ("val/loss", "val/ca/loss"):
        assert [event.value for event in shown.Scalars(tag)][-4:] == [1.0, 1.0, 2.0, 2.0]
    assert [event.step for event in shown.Scalars("probe/ca/cer")] == [1, 2, 3, 4]
    assert [event.step for event in shown.Audio("probe/ca/001")] == [1, 2, 3, 4]
    assert [event.step for event in shown.Images("probe/ca/001/mel")] == [1, 2, 3, 4]


def test_a_run_that_begins_anew_has_its_first_validation_once(tmp_path):
    run_to(tmp_path, 1, first_step=1, loss=1.0)

    run_to(tmp_path, 1, first_step=1, loss=2.0)

    assert [line["step"] for line in written(tmp_path) if line["kind"] == "val"] == [0, 1]
    assert [(e.step, e.value) for e in board(tmp_path).Scalars("val/loss")] == [(0, 2.0), (1, 2.0)]


def test_the_records_are_those_of_all_parts_of_the_run(tmp_path):
    run_to(tmp_path, 2, first_step=1, loss=1.0)

    log = MetricsLog(tmp_path, first_step=2)
    report_train(log, 2)
    log.close()

    assert [(r["kind"], r["step"]) for r in log.records][-3:] == [
        *(("val", 1), ("probe", 1), ("train", 2))
    ]


def test_numbers_go_elsewhere_too_by_the_names_of_the_board(tmp_path):
    sent = []
    log = MetricsLog(tmp_path, first_step=1, also_to=lambda *report: sent.append(report))

    log.report_val(3, 1, SCORES, {"ca": SCORES}, is_best=True)

    log.close()
    ((values, step),) = sent
    assert (step, values["val/loss"], values["val/ca/text_loss"]) == (3, 2.0, 3.0)


@pytest.mark.parametrize("rate", [0.004, 0.5], ids=["a-hundred-codes", "much-speech"])
def test_a_sound_shorter_than_a_window_still_has_a_picture(tmp_path, rate):
    path = tmp_path / "ca/001.wav"
    path.parent.mkdir()
    write_wav(path, np.zeros(int(rate * SAMPLE_RATE), np.float32), SAMPLE_RATE)
    log = MetricsLog(tmp_path, first_step=1)

    log.report_probe(1, 1, {}, [path], is_best=False)

    log.close()
    assert board(tmp_path).Tags()["images"] == ["probe/ca/001/mel"]
