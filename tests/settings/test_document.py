"""docs/settings.md is what the declarations say."""

from scripts.settings.document import PLACE, settings_document


def test_the_document_is_up_to_date():
    assert PLACE.read_text(encoding="utf-8") == settings_document(), (
        "run: python -m scripts.settings.document"
    )
