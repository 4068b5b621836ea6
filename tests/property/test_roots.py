"""Whatever a visitor types, nothing outside the declared folders is reached."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.base.errors import GuardError
from idiolect.studio.roots import below_roots

PARTS = st.sampled_from(
    ["..", ".", "a", "b", "in", "out", "loop", "up", "~", "", "c.txt", "rooted", "\x00", " ", "é"]
)


@pytest.fixture(scope="module")
def place() -> Path:
    """A root with links that lead inside, outside, up and in a circle."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        root = folder / "root"
        (root / "a" / "b").mkdir(parents=True)
        (folder / "rooted").mkdir()
        (folder / "rooted" / "c.txt").write_text("secret")
        (root / "in").symlink_to(root / "a")
        (root / "out").symlink_to(folder / "rooted")
        (root / "up").symlink_to("..")
        (root / "loop").symlink_to("loop")
        yield folder


@given(parts=st.lists(PARTS, max_size=7), start=st.sampled_from(["root", "absolute", "typed"]))
def test_whatever_is_typed_is_below_a_root_or_refused(place, parts, start):
    root = place / "root"
    before = {"root": f"{root}/", "absolute": "/", "typed": ""}[start]

    try:
        found = below_roots(before + "/".join(parts), [root])
    except GuardError:
        return

    assert os.path.realpath(found) == str(found)
    assert os.path.commonpath([found, root]) == str(root)


@given(parts=st.lists(st.sampled_from(["a", "b", "in", "new"]), max_size=5))
def test_what_lies_inside_is_found_also_through_a_link(place, parts):
    root = place / "root"

    found = below_roots(root.joinpath(*parts), [root])

    assert found == root.joinpath(*parts).resolve()


@pytest.mark.parametrize(
    "typed",
    ["root/../rooted/c.txt", "rooted", "root/out/c.txt", "root/up/rooted", "root/loop", "/etc"],
)
def test_a_way_out_is_refused_with_the_folders_that_are_declared(place, typed):
    with pytest.raises(GuardError, match="is not below a folder") as caught:
        below_roots(place / typed, [place / "root"])

    assert str(place / "root") in caught.value.where


def test_a_root_that_is_a_link_serves_what_it_points_to(place, tmp_path):
    (tmp_path / "data").symlink_to(place / "root")

    assert below_roots(tmp_path / "data" / "a", [tmp_path / "data"]) == place / "root" / "a"


def test_nothing_typed_and_no_roots_are_refused(place):
    with pytest.raises(GuardError, match="no path is given"):
        below_roots("  ", [place])
    with pytest.raises(GuardError, match="none are declared"):
        below_roots(place, [])
