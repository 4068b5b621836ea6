"""Proof that a base did not change: its SHA-256 list, taken before a run and again after it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from idiolect.base.errors import GuardError
from idiolect.base.guard import files_of
from idiolect.base.hashes import BLOCK_BYTES, sha256_file
from idiolect.base.progress import progress


@dataclass(frozen=True, slots=True)
class BaseSnapshot:
    """The SHA-256 of every file of a base folder, by relative name."""

    folder: Path
    hashes: dict[str, str]

    @classmethod
    def take(cls, folder: Path) -> BaseSnapshot:
        """Hash every file below ``folder``."""
        root = folder.resolve()
        files = list(files_of(root))
        blocks = sum(-(-file.stat().st_size // BLOCK_BYTES) for file in files)
        with progress("hashing the base", blocks, unit="MB") as advance:
            hashes = {str(f.relative_to(root)): sha256_file(f, advance) for f in files}
        return cls(root, hashes)

    def verify(self) -> str:
        """Hash again; return the sentence that ends every run.

        Raises:
            GuardError: A file of the base was changed, added or removed meanwhile.
        """
        now = BaseSnapshot.take(self.folder).hashes
        changed = [
            name
            for name in sorted(self.hashes.keys() | now.keys())
            if self.hashes.get(name) != now.get(name)
        ]
        if changed:
            raise GuardError(
                f"the base changed during the run: {', '.join(changed)}",
                where=str(self.folder),
                fix="restore these files from your backup, or download the base again",
            )
        return f"base unchanged: {len(now)} files in {self.folder}"
