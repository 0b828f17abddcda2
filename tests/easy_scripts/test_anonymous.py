"""What of a text is taken out before it is posted."""

from __future__ import annotations

import pytest

from easy_scripts.install.anonymous import without_names

PLACES = {r"C:\Users\Ann Smith\EasyLoRA": "<Easy LoRA>", r"E:\ann": "<home>", "D:\\": "<no>"}
NAMES = ["Ann Smith", "Workstation-7", "PC", "max", "太郎"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"C:\Users\Ann Smith\EasyLoRA\logs\x.log", r"<Easy LoRA>\logs\x.log"),
        (r"c:/users/ann smith/Pictures", "<home>/Pictures"),
        (r"{'path': 'C:\\Users\\Ann Smith\\a'}", r"{'path': '<home>\\a'}"),
        (r"e:\ANN\x and E:/ann/y", r"<home>\x and <home>/y"),
        ("ANN SMITH on WORKSTATION-7", "<name> on <name>"),
        ("太郎の写真", "<name>の写真"),
        # whoever else it was
        (r"moved here from C:\Users\Bob B. Jones\EasyLoRA.", r"moved here from <home>\EasyLoRA."),
        (r"D:\Users\bob, and d:/documents and settings/Bob J/x", "<home>, and <home>/x"),
        ("'/home/bob/models/a b.ckpt' and /Users/bob", "'<home>/models/a b.ckpt' and <home>"),
        ("/mnt/c/Users/bob/x", "/mnt/c<home>/x"),
        # and what stays
        ("a PC and plans", "a PC and plans"),
        ("the maximum of max, climax", "the maximum of <name>, climax"),
        (r"D:\models on D:\ ", r"D:\models on D:\ "),
        (r"C:\Program Files\Python312", r"C:\Program Files\Python312"),
    ],
)
def test_personal_names_are_taken_out(text, expected):
    assert without_names(text, PLACES, NAMES) == expected
