#!/usr/bin/env python3
"""Write the pictures of the page in ``docs/images/page``.

``python docs/build_screenshots.py [FOLDER]`` makes what a user would have (a small corpus, a run of
training, an installed model, sounds) with nano in ``FOLDER``, or in a new folder that is thrown
away, serves it, and photographs each tab. Nothing in the pictures is invented: what they show was
computed on the machine that made them. It takes some minutes of CPU, and needs the extra ``webui``,
``playwright`` and a Chromium.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from idiolect.base.places import SHIPPED_DIR
from idiolect.evaluation.comparison import ComparisonOrder
from idiolect.studio.batch_lines import BatchLine
from idiolect.studio.batch_store import BatchDefaults
from idiolect.webui.desk import Desk, PageSettings
from idiolect.webui.messages import Say

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images/page"
CHROMIUM = Path("/usr/bin/chromium")
CORPUS = ROOT / "src/idiolect/assets/catalan"
LANGUAGES = ("en", "es")
WIDTHS = {1280: 900, 390: 844}
"""Widths of a window in pixels, and the height that it has before it grows with the page."""
TABS = ("generate", "batch", "history", "compare", "dataset", "train", "monitor", "models")
SHOWN = {1280: TABS, 390: TABS[:1]}
"""Tabs that the guides have a picture of at each width."""
MAX_BYTES = 200_000
MAX_HEIGHT = 2400
"""In pixels; what a longer page has below is left out of its picture."""
START_SEC = 120
WAIT_MS = 60_000
SETTLE_MS = 1500
TRIES = 5
USER, PASSWORD = "marta", "secret"
VOICE = "anna"
TEXTS = (
    "Bon dia a tothom.",
    "El tren surt a les vuit del matí.",
    "Avui fa sol i demà plourà.",
    "La biblioteca obre els dissabtes.",
    "Em dic Anna i visc a Girona.",
    "Quant costen aquestes pomes?",
)
PREPARING = (
    "prepare --audio-dir data/raw/catalan_audio --language ca"
    " --transcript-file data/raw/catalan_transcripts.txt"
    " --output-manifest data/catalan_dataset/train.jsonl",
    "pairs --manifest data/catalan_dataset/train.jsonl"
    " --output data/catalan_dataset/train_paired.jsonl",
    "tokenizer --manifest data/catalan_dataset/train.jsonl --vocab-size 16 --overwrite"
    " --output-prefix training/catalan/tokenizer/catalan_bpe --extend {base}/bpe.model",
    "train --train-manifest data/catalan_dataset/train_paired.jsonl"
    " --val-manifest data/catalan_dataset/val_paired.jsonl --base-checkpoint {base}/gpt.pth"
    " --tokenizer training/catalan/tokenizer/catalan_bpe.model"
    " --output-dir training/catalan/checkpoints --epochs 7 --batch-size 8 --learning-rate 5e-4"
    " --dropout 0 --code-noise 0.25 --text-loss-weight 0 --seed 1 --device cpu --log-interval 2"
    " --val-interval 84 --probe-sentences 2 --asr nano",
    "install --checkpoint training/catalan/checkpoints/latest.pth --blend 0.6 --base {base}"
    " --tokenizer training/catalan/tokenizer/catalan_bpe.model --output-name catalan"
    " --output-dir models --force",
)
"""The commands of the guide, behind ``idiolect``, with what nano wants."""


def main() -> None:
    """Make what is shown, serve it, photograph it."""
    with folder_of(sys.argv[1:]) as folder:
        prepare(folder)
        with served(folder) as address, sync_playwright() as started:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for width in WIDTHS:
                for language in LANGUAGES:
                    photograph(browser, address, language, width)
            browser.close()


@contextmanager
def folder_of(arguments: list[str]) -> Iterator[Path]:
    """Yield the folder that was named, or one that is thrown away."""
    if arguments:
        folder = Path(arguments[0]).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def prepare(folder: Path) -> None:
    """Make in ``folder`` what the page is to show, unless it is there."""
    raw = folder / "data/raw"
    shutil.copytree(CORPUS / "recordings", raw / "catalan_audio", dirs_exist_ok=True)
    shutil.copy(CORPUS / "transcripts.txt", raw / "catalan_transcripts.txt")
    if not (folder / "models/gpt_catalan.json").is_file():
        for command in PREPARING:
            arguments = command.format(base=SHIPPED_DIR).split()
            program = [sys.executable, "-m", "idiolect", *arguments]
            subprocess.run(program, cwd=folder, check=True)  # noqa: S603 -- the lines above
    if not (folder / "outputs/comparisons").is_dir():
        os.chdir(folder)
        speak(Desk(settings_of()))


def settings_of() -> PageSettings:
    """Return where the page will look, too."""
    return PageSettings(
        model_dir=Path("models"),
        base=SHIPPED_DIR,
        aux_dir=None,
        output_dir=Path("outputs"),
        device="cpu",
        roots=(Path(),),
    )


def speak(desk: Desk) -> None:
    """Fill library, history, batches and comparisons, as visitors would."""
    clip = sorted(Path("data/raw/catalan_audio").glob(f"{VOICE}_*"))[1]
    desk.voices.add(VOICE, clip, whose="A speech engine of the corpus")
    batch = desk.batches.create(
        [BatchLine(name=f"line{n}", text=text) for n, text in enumerate(TEXTS, 1)],
        BatchDefaults(
            model="catalan", device="cpu", voice=VOICE, settings={"language": "ca", "seed": 1}
        ),
        user=USER,
        title="Six sentences",
    )
    desk.batches.run(batch.id)
    desk.batches.wait()
    order = ComparisonOrder(
        model_a="base", model_b="catalan", prompt=clip, texts=TEXTS, language="ca", asr="nano"
    )
    for _ in desk.comparisons.run(order):
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve ``folder`` on a free port; yield the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--base", "nano", "--device", "cpu", "--port", str(port)]
    command = [sys.executable, str(ROOT / "webui.py"), *flags, "--auth", f"{USER}:{PASSWORD}"]
    server = subprocess.Popen(command, cwd=folder)  # noqa: S603 -- the line above
    try:
        wait_for(f"http://127.0.0.1:{port}/en/", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until ``server`` answers."""
    deadline = time.monotonic() + START_SEC
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 -- our own server
            return
        except urllib.error.HTTPError:
            return  # it asks who is there
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"no page at {address}")


def photograph(browser: Browser, address: str, language: str, width: int) -> None:
    """Write the pictures of all tabs in one language at one width."""
    context = browser.new_context(
        viewport={"width": width, "height": WIDTHS[width]},
        http_credentials={"username": USER, "password": PASSWORD},
        locale=language,
    )
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{address}/{language}/")
    say = Say(language)
    page.get_by_role("button", name=say("head.load"), exact=True).wait_for()
    for tab in SHOWN[width]:
        open_tab(page, say(f"{tab}.tab"))
        fill(page, tab, say)
        page.wait_for_timeout(SETTLE_MS)
        keep(page, f"{language}-{tab}-{width}.png", width)
    context.close()


def open_tab(page: Page, name: str) -> None:
    """Choose a tab; on a narrow window it may be behind the dots."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown").get_by_role("button", name=name, exact=True).click()
        return
    tab.click()


def choose(page: Page, label: str, option: str) -> None:
    """Choose what begins with ``option`` in the visible list that is called ``label``."""
    field = page.get_by_label(label, exact=True).locator("visible=true").first
    for _ in range(TRIES):
        field.click()
        page.get_by_role("option", name=option).first.click()
        page.wait_for_timeout(SETTLE_MS)
        if field.input_value().startswith(option):
            return
    raise SystemExit(f"{option} cannot be chosen in {label}")


def fill(page: Page, tab: str, say: Say) -> None:
    """Do what a visitor does there, and wait for the end."""
    if tab == "generate":
        choose(page, say("head.model"), "gpt_catalan.pth")
        choose(page, say("generate.voice"), VOICE)
        page.locator("#text textarea").fill(TEXTS[1])
        page.get_by_role("button", name=say("generate.generate"), exact=True).click()
        page.get_by_text(say("generate.done")).wait_for()
    elif tab == "history":
        page.get_by_role("button", name=say("history.look"), exact=True).click()
    elif tab == "compare":
        choose(page, say("compare.past"), "20")
        page.get_by_text(say("compare.column_difference")).first.wait_for()
    elif tab in ("dataset", "train"):
        choose(page, say(f"{tab}.project"), "catalan")
    elif tab == "monitor":
        page.get_by_role("link", name=say("monitor.report"), exact=True).wait_for()


def keep(page: Page, name: str, width: int) -> None:
    """Write the whole page, in few colours, as ``name``."""
    page.evaluate("window.scrollTo(0, 0)")
    page.mouse.move(0, 0)
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True, animations="disabled")))
    picture = picture.convert("RGB").crop((0, 0, width, min(picture.height, MAX_HEIGHT)))
    IMAGES.mkdir(parents=True, exist_ok=True)
    for colours in (256, 128, 64, 32, 16):
        picture.quantize(colours, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
        if (IMAGES / name).stat().st_size < MAX_BYTES:
            return
    raise SystemExit(f"{name} does not fit into {MAX_BYTES} bytes")


if __name__ == "__main__":
    main()
