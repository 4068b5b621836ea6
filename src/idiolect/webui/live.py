"""Hearing a sound while it is made: a player that is fed one segment after the other.

The browser plays what has come, in order, each segment when the one before has ended; nothing but
the page is needed for it. A visitor who pauses it hears no more until they go on.
"""

from __future__ import annotations

import html
import secrets
from dataclasses import dataclass
from typing import Any

import gradio as gr

from idiolect.audio.io import Waveform
from idiolect.audio.shown import sound_address

SENT_TWICE = 3
"""Segments in each message: should a browser pass over a message, the next one makes up for it."""
PLAYER_ID = "live-sound"
FEED = """
(feed) => {
  const player = document.getElementById("live-sound");
  if (!player || !feed) return;
  if (player.dataset.run !== feed.run) {
    Object.assign(player, {waiting: [], next: 0, idle: true});
    player.dataset.run = feed.run;
    player.pause();
    player.removeAttribute("src");
  }
  feed.sounds.forEach((sound, place) => {
    if (feed.first + place !== player.next) return;
    player.waiting.push(sound);
    player.next += 1;
  });
  const go = () => {
    const sound = player.waiting.shift();
    player.idle = !sound;
    if (!sound) return;
    player.src = sound;
    player.play().catch(() => {});
  };
  player.onended = go;
  if (player.idle) go();
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlayer:
    """The player on the page."""

    feed: gr.JSON
    """What it is sent; never seen."""


def build_player(label: str) -> LivePlayer:
    """Add a player that is called ``label``."""
    name = html.escape(label, quote=True)
    gr.HTML(
        f'<label for="{PLAYER_ID}">{html.escape(label)}</label>'
        f'<audio id="{PLAYER_ID}" controls aria-label="{name}" style="width: 100%"></audio>'
    )
    feed = gr.JSON(visible="hidden", show_label=False)
    feed.change(None, feed, None, js=FEED)
    return LivePlayer(feed=feed)


class LiveFeed:
    """What the player is sent while one text is spoken."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(8)
        self._sounds: list[str] = []

    def started(self) -> dict[str, Any]:
        """Return what silences the sound before this one."""
        return {"run": self._run, "first": 0, "sounds": []}

    def with_segment(self, wave: Waveform) -> dict[str, Any]:
        """Return what makes the player play ``wave`` ``[N]`` next."""
        self._sounds.append(sound_address(wave))
        first = max(0, len(self._sounds) - SENT_TWICE)
        return {"run": self._run, "first": first, "sounds": self._sounds[first:]}
