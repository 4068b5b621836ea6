from dataclasses import dataclass
from pathlib import Path

import pytest

from idiolect.base.config import from_mapping, read_yaml, to_mapping, write_yaml
from idiolect.base.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    epochs: int = 10
    output_dir: Path = Path("x")


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "config.yaml"
    write_yaml(path, Settings(epochs=3))

    assert from_mapping(Settings, read_yaml(path), where=str(path)) == Settings(epochs=3)


def test_an_unknown_key_suggests_the_nearest():
    with pytest.raises(ConfigError, match="unknown key 'epoch'") as error:
        from_mapping(Settings, {"epoch": 3}, where="config.yaml")

    assert "did you mean 'epochs'?" in error.value.fix


def test_a_value_of_the_wrong_type_names_its_key():
    with pytest.raises(ConfigError, match="epochs: Input should be a valid integer"):
        from_mapping(Settings, {"epochs": "many"}, where="config.yaml")


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", ""], ids=["broken", "list", "empty"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match="not a") as error:
        read_yaml(path)

    assert error.value.where == str(path)


def test_a_mapping_holds_plain_values_only():
    assert to_mapping(Settings()) == {"epochs": 10, "output_dir": "x"}
