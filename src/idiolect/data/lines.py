"""Lines of text that users bring: any line ending, with or without a byte-order mark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from idiolect.base.errors import DataError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
ASK_FOR_UTF8 = "save the file as UTF-8 (iconv -f latin1 -t utf-8 OLD > NEW, or your editor's menu)"


def read_lines(path: Path, *, keep_blank: bool = False) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, text without its ending, damage) for the lines of ``path``.

    ``damage`` says what keeps a line from being UTF-8, and is empty for a good line; the text
    of a damaged line is empty. A byte-order mark is passed over.

    Args:
        path: The file.
        keep_blank: Yield the lines too that hold nothing.

    Raises:
        DataError: There is no such file, or all of it is in another encoding.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if number == 1:
                _refuse_utf16(raw, path)
            try:
                line = raw.removeprefix(BYTE_ORDER_MARK).decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                yield number, "", _bad_byte(raw, error)
                continue
            if keep_blank or line.strip():
                yield number, line, ""


def _refuse_utf16(first_line: bytes, path: Path) -> None:
    if first_line.startswith(UTF16_MARKS):
        raise DataError("the text is in UTF-16, not UTF-8", where=str(path), fix=ASK_FOR_UTF8)


def _bad_byte(raw: bytes, error: UnicodeDecodeError) -> str:
    around = raw[max(0, error.start - 20) : error.start + 20].decode("latin-1").strip()
    return f"not UTF-8: byte 0x{raw[error.start]:02x} near {around!r}"
