import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from idiolect.audio.io import probe_audio, write_wav
from idiolect.base.errors import DataError, GuardError
from idiolect.cli.corpus import main
from idiolect.data import corpora
from idiolect.data.corpora import CORPORA, fetch_debian


def write_audio(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    wav = path.with_name(f"{path.stem}.wav")
    write_wav(wav, np.zeros(1600, np.float32), 16_000)
    wav.rename(path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def stamps(root):
    folder = root / "usr/share/tuxpaint/stamps/animals"
    write_audio(folder / "frog_desc_ca.ogg")
    write_audio(folder / "cat_desc_ca.ogg")
    write_audio(folder / "dog_desc_fr.ogg")
    write(folder / "frog.txt", "A frog.\nca.utf8=Una  granota | verda.\nfr.utf8=Une grenouille.\n")
    write(folder / "cat.txt", "A cat.\nes.utf8=Un gato.\n")
    write(root / "usr/share/doc/tuxpaint-stamps-default/copyright", "GPL, version 2 or later")


def prompts(root):
    listing = root / "usr/share/doc/asterisk-core-sounds-es/core-sounds-es.txt.gz"
    listing.parent.mkdir(parents=True)
    with gzip.open(listing, "wt", encoding="utf-8") as lines:
        lines.write("; comment: no prompt\nhola: Hola: bon dia\nbeep: [tono]\ngone: No hi és\n")
    write_audio(root / "usr/share/asterisk/sounds/es_MX_f/hola.g722")
    write_audio(root / "usr/share/asterisk/sounds/es_MX_f/beep.g722")


def dialogues(root):
    game = root / "usr/share/games/fillets-ng"
    script = (
        'dialogId("a-1", "font_small", "Say \\"hi\\".")\ndialogStr("Řekni \\"ahoj\\".")\n'
        'dialogId("a-2", "", "Who?")\ndialogStr("Kdo?")\n'
        'dialogId("a-3", "font_big", "Not spoken.")\ndialogStr("Nemluveno.")\n'
    )
    write(game / "script/city/dialogs_cs.lua", script)
    write_audio(game / "sound/city/cs/a-1.ogg")
    write_audio(game / "sound/city/cs/a-2.ogg")


def sentences(root):
    voice = root / "usr/share/festival/voices/russian/msu_ru_nsh_clunits"
    write(voice / "etc/txt.done.data", '( ru_1 "До+брый день." )\n')
    write_audio(voice / "wav/ru_1.wav")


@pytest.mark.parametrize(
    ("name", "language", "build", "expected"),
    [
        pytest.param(
            "tuxpaint-stamps-default",
            "ca",
            stamps,
            [("animals/frog_desc_ca.ogg", "tuxpaint_ca", "Una granota verda.")],
            id="tuxpaint",
        ),
        pytest.param(
            "asterisk-core-sounds-es",
            "es",
            prompts,
            [("hola.g722", "allison", "Hola: bon dia")],
            id="asterisk",
        ),
        pytest.param(
            "fillets-ng-data-cs",
            "cs",
            dialogues,
            [("city/a-1.ogg", "small", 'Řekni "ahoj".'), ("city/a-2.ogg", "other", "Kdo?")],
            id="fillets",
        ),
        pytest.param(
            "festvox-ru", "ru", sentences, [("ru_1.wav", "nsh", "Добрый день.")], id="festvox"
        ),
    ],
)
def test_the_clips_of_a_package_are_found(tmp_path, name, language, build, expected):
    build(tmp_path)

    clips = list(CORPORA[name].read(tmp_path, language))

    assert [(clip.name, clip.speaker, clip.text) for clip in clips] == expected
    assert all(clip.path.is_file() for clip in clips)


def test_a_corpus_is_laid_out_as_people_keep_their_recordings(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "_unpack", lambda _packages, folder: stamps(folder))

    report = fetch_debian("tuxpaint-stamps-default", tmp_path / "ca", language="ca")

    assert report.num_clips == 1
    assert report.duration_sec == pytest.approx(0.1)
    assert (tmp_path / "ca/transcripts.txt").read_text("utf-8") == (
        "animals/frog_desc_ca.ogg|tuxpaint_ca|Una granota verda.\n"
    )
    assert probe_audio(tmp_path / "ca/audio/animals/frog_desc_ca.ogg").num_channels == 1
    licence = (tmp_path / "ca/LICENCE.txt").read_text("utf-8")
    assert "GPL-2.0-or-later" in licence
    assert "GPL, version 2 or later" in licence


def test_half_a_corpus_is_never_left(tmp_path, monkeypatch):
    def unpack_and_break(_packages, folder):
        stamps(folder)
        (folder / "usr/share/tuxpaint/stamps/animals/frog_desc_ca.ogg").write_text("no sound")

    monkeypatch.setattr(corpora, "_unpack", unpack_and_break)

    with pytest.raises(DataError):
        fetch_debian("tuxpaint-stamps-default", tmp_path / "ca", language="ca")

    assert not any(tmp_path.iterdir())


def test_an_unknown_corpus_gets_the_nearest_name(capsys, tmp_path):
    assert main(["debian", "fillets-ng-data", str(tmp_path / "x")]) == 2

    assert re.search(r"did you mean 'fillets-ng-data-\w\w'\?", capsys.readouterr().err)


def test_a_corpus_of_many_languages_asks_for_one(tmp_path):
    with pytest.raises(DataError, match="has clips in be, bg, ca") as caught:
        fetch_debian("tuxpaint-stamps-default", tmp_path / "x")

    assert caught.value.where == "--language"
    with pytest.raises(DataError, match="and not 'zh'"):
        fetch_debian("tuxpaint-stamps-default", tmp_path / "x", language="zh")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").touch()

    with pytest.raises(DataError, match="is not empty"):
        fetch_debian("festvox-ru", tmp_path)


def test_a_corpus_is_never_put_into_a_base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(GuardError):
        fetch_debian("festvox-ru", Path("checkpoints/corpus"))


def test_another_system_than_debian_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DataError, match="apt-get is not installed") as caught:
        fetch_debian("festvox-ru", tmp_path / "ru")

    assert "Debian or Ubuntu" in caught.value.fix


def test_a_download_that_fails_says_why(tmp_path, monkeypatch):
    apt = tmp_path / "bin" / "apt-get"
    write(apt, "#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{apt.parent}:/bin:/usr/bin")

    with pytest.raises(DataError, match="apt-get download failed: E: Unable to locate package"):
        fetch_debian("festvox-ru", tmp_path / "ru")
