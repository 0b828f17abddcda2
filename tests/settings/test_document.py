"""docs/settings.md is what the declarations say, of every command."""

from scripts.core.files import PROJECT_FOLDER
from scripts.settings.document import COMMANDS, PLACE, settings_document


def test_the_document_is_up_to_date():
    assert PLACE.read_text(encoding="utf-8") == settings_document(), (
        "run: python -m scripts.settings.document"
    )


def test_no_command_with_declared_settings_is_left_out():
    declared = {
        f"scripts.{path.stem}"
        for path in (PROJECT_FOLDER / "scripts").glob("*.py")
        if all(sign in path.read_text(encoding="utf-8") for sign in ("Settings,", "__main__"))
    }
    assert {"scripts.train", "scripts.resize_lora"} <= declared
    without_own = {"scripts.inspect_dataset"}  # it takes the training's
    assert {module for module, _, _ in COMMANDS} == declared - without_own
