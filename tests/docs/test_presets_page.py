"""The page of presets says what the presets set."""

import runpy

from docs.guide import ROOT

PAGE = ROOT / "docs/reference/presets.md"


def test_the_page_of_presets_is_what_the_code_computes():
    builder = runpy.run_path(str(ROOT / "docs/build_reference.py"))

    assert PAGE.read_text(encoding="utf-8") == builder["presets"](), (
        "run python docs/build_reference.py"
    )
