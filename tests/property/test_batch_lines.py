"""Whatever the texts are: a batch has each of them, once, as it was."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from idiolect.studio.batch_files import read_batch_file
from idiolect.studio.batch_lines import Places

TEXTS = st.lists(st.text(min_size=1).filter(lambda text: text.strip()), min_size=1, max_size=5)


@given(TEXTS)
def test_any_text_comes_through_json_lines_as_it_was(texts):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        lines = read_batch_file(path, Places())

    assert [line.text for line in lines] == [text.strip() for text in texts]
    assert len({line.name for line in lines}) == len(texts)
