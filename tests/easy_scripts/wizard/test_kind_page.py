"""The page of kinds: the memory of the card, and tips on what has no declaration."""

from __future__ import annotations

import pytest
import test_trial_part as trial_tests

from easy_scripts.install.kinds import Gpu, Graphics
from easy_scripts.train_pages.graphics_card import Card, card_of

this_pc, on_page = trial_tests.this_pc, trial_tests.on_page
WRONG = "is no amount of memory. Write a number of gigabytes, such as 12, or leave it empty."


@pytest.mark.parametrize("text", ["abc", "0", "-8", "nan", "1e9", "12 14"])
def test_a_wrong_amount_of_memory_is_told_and_bars_only_the_way_forward(on_page, text):
    robot = on_page()
    robot.page._memory.set(text)
    robot.click("Next")
    assert robot.page.name == "kind" and f"“{text}” {WRONG}" in robot.seen()
    assert str(robot.page._card_line._wrong.cget("style")) == "Error.TLabel"
    assert robot.root.focus_get() is robot.page._card_line.field
    assert not robot.wizard.memory.get("card_memory", {})
    robot.click("Back")
    assert robot.page.name == "pictures"


@pytest.mark.parametrize(
    ("text", "gigabytes"), [("8", 8), ("7,5", 7.5), (" 12 GB ", 12), ("", None), ("10.0", 10)]
)
def test_an_amount_of_memory_is_understood_as_it_is_written(on_page, text, gigabytes):
    robot = on_page()
    robot.page._memory.set(text)
    assert robot.page._card_line.gigabytes == gigabytes
    robot.click("Next")
    assert robot.page.name == "summary"


def tip(robot, widget):
    """The tip that comes when the pointer rests on a widget."""
    widget.event_generate("<Enter>", x=3, y=3)
    tips = []

    def shown():
        tips[:] = [w for w in robot.root.winfo_children() if type(w).__name__ == "RestingTip"
                   and w.widget is widget and w.winfo_viewable()]  # fmt: skip
        return tips

    robot.until(shown, "a tip is shown")
    text = tips[0].msg_var.get()
    widget.event_generate("<Leave>", x=3, y=3)
    robot.pump()
    return text


def test_every_row_made_by_hand_has_a_tip(on_page):
    robot = on_page()
    page = robot.page
    radios = {w.cget("text"): w for w in robot.widgets(page.frame.body)
              if w.winfo_class() == "TRadiobutton"}  # fmt: skip
    assert "10 to 40 pictures" in tip(robot, radios["A character"])
    assert "fine details may be missing" in tip(robot, radios["Quick"])
    assert "empty means unknown" in tip(robot, page._card_line.field)
    from easy_scripts.wizard.fold import Fold

    next(w for w in robot.widgets() if isinstance(w, Fold)).unfold()
    robot.pump()
    assert "Prodigy finds the learning rate" in tip(robot, page._way)
    robot.click("Back")
    robot.until(lambda: robot.wizard.facts.dataset.get("complete"))
    robot.pump()
    assert "zyxcat" in tip(robot, robot.page.trigger.entry)
    assert "in one round" in tip(robot, robot.page._table._fields[0])


def test_the_memory_of_another_card_takes_the_place_of_the_old_one_s(on_page):
    robot = on_page()
    assert robot.page._memory.get() == "12"
    robot.page._memory.set("10")
    robot.end()
    robot = on_page()
    assert robot.page._memory.get() == "10", "what a person said of this card stays"
    robot.end()
    robot = on_page(card=Card("NVIDIA GeForce RTX 4090", 24, True))
    assert robot.page._memory.get() == "24"
    robot.end()
    robot = on_page(card=Card())
    assert robot.page._memory.get() == "" and "of 24 GB" not in robot.seen()


UHD = Gpu("Intel(R) UHD Graphics 620", None, 1024, "intel")
ARC = Gpu("Intel(R) Arc(TM) A770 Graphics", None, 16384, "intel")
RTX = Gpu("NVIDIA GeForce RTX 3060 Ti", (8, 6), 8192)
TITAN = Gpu("NVIDIA TITAN V", (7, 0), 12288)


@pytest.mark.parametrize(
    ("gpus", "kind", "name", "gigabytes"),
    [
        ([UHD], None, "", None),
        ([UHD], "cpu", "", None),
        ([ARC, UHD], None, ARC.name, 16),
        ([ARC, RTX], None, RTX.name, 8),
        ([UHD, RTX], "cu126", RTX.name, 8),
        ([ARC, RTX], "xpu", ARC.name, 16),
        ([RTX], "cpu", "", None),
        ([TITAN, RTX], "cu126", RTX.name, 8),
    ],
)
def test_the_card_is_the_one_that_was_set_up_for(gpus, kind, name, gigabytes):
    card = card_of(Graphics(tuple(gpus), (13, 0)), kind)
    assert (card.name, card.memory_gb) == (name, gigabytes)
    assert card.present == bool(name) and card.bf16 == (True if gigabytes == 8 else None)


def test_regularisation_pictures_double_the_steps(on_page):
    robot = on_page()
    answers = robot.wizard.answers
    uses = answers["max_train_epochs"] * 10 * answers["folder_repeats"]["1_cat"]
    assert uses == 1600 and answers["train_batch_size"] == 2
    assert "About 800 steps" in robot.seen()
    others = {"name": "1_cats", "is_reg": True, "repeats": 1, "pictures": 3, "class_tokens": "cats"}
    robot.wizard.facts.dataset["folders"].append(others)
    robot.page._apply()
    robot.pump()
    assert "About 1,600 steps" in robot.seen()


def test_every_reason_of_the_advice_is_told_while_it_is_heeded(on_page):
    robot = on_page()
    told = robot.page._reasons.cget("text")
    assert "Min-SNR gamma – 5 evens the training out" in told and "the text encoder" not in told
    robot.wizard.answers["min_snr_gamma"] = 3
    robot.page._apply()
    assert "Min-SNR" not in robot.page._reasons.cget("text")
