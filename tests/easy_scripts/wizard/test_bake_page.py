"""The page of a running bake, told by a made-up one: what it shows, asks for and lets do."""

from __future__ import annotations

import tkinter
from itertools import pairwise
from tkinter import ttk

import pytest
from made_up_bake import MadeUpBake
from PIL import Image

from easy_scripts import train
from easy_scripts.queue import store as queue_store
from easy_scripts.queue.store import RUNNING, QueueStore
from easy_scripts.train_pages import bake_page, preview_strip
from easy_scripts.train_pages.bake_bars import BakeBars
from easy_scripts.train_pages.figures import rates_of
from easy_scripts.wizard import attention, work_page
from easy_scripts.wizard.asking import show_page
from easy_scripts.wizard.child import Ended
from scripts.core.errors import SuiteError
from scripts.core.events import Facts, Note, Preview, Saved, Stage, Start, Step

GB = 1024**3


@pytest.fixture(autouse=True)
def this_pc(monkeypatch, tmp_path):
    monkeypatch.setattr(queue_store, "QUEUE_FOLDER", tmp_path / "queue")


@pytest.fixture
def bake(monkeypatch):
    return MadeUpBake(monkeypatch)


@pytest.fixture
def on_page(open_robot, bake):
    """A function: a robot on the page of a bake that has begun."""

    def open_it(kind="bake", **given):
        robot = open_robot(train.PLAN, {"output_name": "hero", "sample_prompts": "a hero", **given})
        robot.wizard.facts.bake_kind = kind
        show_page(robot.wizard, "bake")
        bake.begin()
        robot.pump(0.1)
        return robot

    return open_it


def told(robot, text):
    robot.until(lambda: text in robot.seen(), text)


def picture(folder, name, colour=(90, 60, 30)):
    path = folder / f"{name}.png"
    Image.new("RGB", (64, 64), colour).save(path)
    return str(path)


def in_view(robot, widget) -> bool:
    """Whether all of a widget is within the part of the page that is seen."""
    canvas = robot.page.frame._canvas
    top = widget.winfo_rooty() - canvas.winfo_rooty()
    return top >= 0 and top + widget.winfo_height() <= canvas.winfo_height()


# --- what went wrong ------------------------------------------------------------------------


def test_the_reason_of_a_failure_stands_at_the_top_with_the_way_to_its_field(
    on_page, bake, tmp_path
):
    robot = on_page()
    for number in (1, 11, 21):
        bake.step(number)
    bake.say(Preview(picture(tmp_path, "one"), "a hero", 20))
    told(robot, "Previews at step 20")
    robot.page.frame.wheel(100)
    bake.fail("The graphics card ran out of memory. Lower train_batch_size.", "output_name")
    robot.until(lambda: not robot.page.busy)
    robot.pump(0.3)
    page = robot.page
    assert in_view(robot, page._stage) and in_view(robot, page._problem)
    gap = page._problem.winfo_rooty() - page._stage.winfo_rooty() - page._stage.winfo_height()
    assert 0 <= gap < 20, "directly below the stage"
    assert page._to_setting.winfo_rooty() < page._figures.winfo_rooty()
    assert in_view(robot, page._to_setting) and robot.root.focus_get() is page._to_setting
    robot.press("<Return>")
    message = robot.page.rows["output_name"]._message.cget("text")
    assert message == "The graphics card ran out of memory. Lower train_batch_size."


def test_a_failure_without_a_field_shows_all_ways_at_the_top(on_page, bake):
    robot = on_page()
    bake.step(1, alarm="full")
    bake.say(*(Note(f"Warning {number}. " + "It is long. " * 20, True) for number in range(4)))
    bake.say(Ended(70))
    told(robot, "Something went wrong that should not have.")
    robot.pump(0.2)
    assert "memory is full" not in robot.seen(), "the card is free again"
    for widget in (robot.page._stage, robot.page._problem, robot.page._help, robot.page._after):
        assert in_view(robot, widget)
    assert robot.root.focus_get().cget("text") == "To the beginning"


def test_all_that_comes_with_the_end_is_shown(on_page, bake):
    """As of a bake that ended without a window."""
    robot = on_page()
    bake.step(40, loss=0.0625, seconds_per_step=2.5)
    bake.say(Saved("hero-step00000040.safetensors"), Ended(2))
    robot.until(lambda: not robot.page.busy)
    seen = robot.seen()
    assert "0.0625" in seen and "2.50" in seen and "40 of 100 steps · 40 %" in seen


def test_warnings_stay_at_the_top_and_come_once(on_page, bake):
    robot = on_page()
    bake.step(1)
    bake.say(Note("Preview 1 is black. Use a lower rate.", True), Note("A plain note."),
             Note("Another plain note."), Note("Preview 1 is black. Use a lower rate.", True),
             Note("Near step 4 the loss became nan.", True))  # fmt: skip
    told(robot, "Another plain note.")
    bake.step(2)
    robot.pump(0.1)
    warning = robot.page._warning
    lines = ["Preview 1 is black. Use a lower rate.", "Near step 4 the loss became nan."]
    assert warning.cget("text").splitlines() == lines
    assert "A plain note." not in robot.seen(), "a plain one makes room for the next"
    assert warning.winfo_rooty() < robot.page._figures.winfo_rooty()


def test_a_bake_that_cannot_be_started_leaves_the_ways_open(on_page, monkeypatch):
    def refuse(*_):
        raise SuiteError("The folder is barred.")

    monkeypatch.setattr(bake_page, "start_bake", refuse)
    robot = on_page()
    lines = robot.seen().splitlines()
    assert {"This did not work.", "The folder is barred.", "Open the log"} <= {*lines}
    assert "Pause" not in lines and robot.wizard.footer.back.instate(["!disabled"])
    robot.press("<Alt-g>")
    assert robot.page.name == "start"


# --- how far, how fast ----------------------------------------------------------------------


def test_a_bar_for_the_stage_and_then_one_for_all_steps_and_one_for_the_round(on_page, bake):
    robot = on_page()
    page = robot.page
    bake.say(Stage("Encoding pictures", 3, 12))
    told(robot, "3 of 12")
    assert "Encoding pictures" in robot.seen() and "Whole bake" not in robot.seen()
    assert float(page._bar.cget("value")) == 250
    bake.step(30)
    told(robot, "30 of 100 steps · 30 %")
    assert "Whole bake" in robot.seen() and "round 2 of 5" in robot.seen()
    assert not page._bar.winfo_ismapped()
    values = [float(bar.cget("value")) for bar in page._bars._bars.values()]
    assert values == [300, 500]
    bake.say(Stage("Preview 1 of 2", 5, 20))
    told(robot, "Preview 1 of 2 · 5 of 20")
    assert [float(bar.cget("value")) for bar in page._bars._bars.values()] == values
    bake.step(31)
    told(robot, "“hero” is learning.")


@pytest.mark.parametrize(
    ("done", "epoch", "share"), [(4, 1, 1.0), (5, 2, 0.25), (8, 2, 1.0), (9, 3, 1.0)]
)
def test_a_last_round_that_is_cut_short_is_full_at_its_end(screen, done, epoch, share):
    """Nine steps, four a round."""
    from easy_scripts.wizard.catalogue import Catalogue
    from easy_scripts.wizard.theme import Theme

    root = tkinter.Tk()
    root.withdraw()
    bars = BakeBars(root, Theme(root), Catalogue("train", "en"))
    bars.begin(Start("train", 9, 3, 4))
    bars.show(Step(done, 9, epoch, 0.1, {}))
    assert float(bars._bars["round"].cget("value")) == 1000 * share
    root.destroy()


def test_the_time_left_comes_after_ten_steps(on_page, bake):
    robot = on_page()
    for done in (1, 5, 10):
        bake.step(done, seconds_left=600)
        robot.pump(0.1)
        assert "The time left is known after a few steps." in robot.seen()
    bake.step(11, seconds_left=600)
    told(robot, "about 10 min left · done at")


def test_the_alarm_comes_and_goes_with_the_training_s_word(on_page, bake):
    robot = on_page()
    use = {"card_used": round(11.9 * GB), "card_bytes": 12 * GB}
    for done, alarm in enumerate([None, "full", "slower", None, "full"], start=1):
        bake.step(done, alarm=alarm, **use)
        told(robot, f"{done} of 100 steps")
        robot.pump(0.1)
        assert ("The card's memory is full" in robot.seen()) == (alarm == "full")
        assert ("take much longer than before" in robot.seen()) == (alarm == "slower")
    assert "11.9 of 12.0 GB" in robot.seen()


@pytest.mark.parametrize(
    ("rates", "shown"),
    [
        ({"text_encoder": 5e-5, "unet": 1e-4}, (1e-4, 5e-5)),
        ({"text_encoder": 1e-4, "unet": 1e-4}, (1e-4, None)),
        ({"text_encoder": 5e-5}, (5e-5, None)),
        ({"unet_block0": 1e-5, "unet_block1": 2e-5}, (2e-5, None)),
        ({}, (None, None)),
    ],
)
def test_which_rates_are_shown(rates, shown):
    assert rates_of(Step(1, 9, 1, 0.1, rates)) == shown


def test_the_rates_are_told_and_drawn_with_a_scale_of_their_own(on_page, bake):
    robot = on_page()
    curve = robot.page._curve
    for done in (1, 21, 41, 61, 81):
        rates = {"text_encoder": 5e-5 * (1 - done / 100), "unet": 1e-4 * (1 - done / 100)}
        bake.step(done, loss=0.1 + done / 1000, learning_rates=rates)
    told(robot, "text encoder 9.5e-06")
    assert "1.9e-05" in robot.seen()
    assert curve.rates == pytest.approx([1e-4 * (1 - done / 100) for done in curve.steps])
    robot.pump(0.2)
    heights = curve.coords("bake.rate_line")[1::2]
    assert all(before < after for before, after in pairwise(heights)), "it falls"
    losses = curve.coords("bake.smooth_line")[1::2]
    assert losses[0] > losses[-1], "the loss rises"
    texts = {curve.itemcget(item, "text") for item in curve.find_all()
             if curve.type(item) == "text"}  # fmt: skip
    assert {"9.9e-05", "0", "loss", "loss, not smoothed", "learning rate"} <= texts
    bake.step(82, learning_rates={"unet": 1e-5})
    told(robot, "82 of 100")
    assert "text encoder" not in robot.seen()


# --- buttons ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("button", "key", "request_", "answer"),
    [
        ("Save now", "<Alt-s>", "save", None),
        ("Preview now", "<Alt-v>", "preview", "A preview is drawn after this step."),
        ("Stop after this round", "<Alt-r>", "stop_after_epoch", "It will stop at the end of"),
        ("Pause", "<Alt-p>", "stop", "Stopping as soon as it is safe"),
    ],
)  # fmt: skip
def test_a_button_asks_the_bake(on_page, bake, button, key, request_, answer):
    robot = on_page()
    robot.click(robot.find(button))
    assert bake.asked == [], "not before the first step"
    bake.step(1)
    told(robot, "1 of 100")
    robot.press(key)
    assert bake.asked == [request_]
    assert answer is None or answer in robot.seen()
    if request_ in ("stop", "stop_after_epoch"):
        robot.press(key)
        assert bake.asked == [request_], "once"


def test_save_now_tells_the_file(on_page, bake):
    robot = on_page()
    bake.step(1)
    told(robot, "1 of 100")
    robot.click("Save now")
    bake.say(Saved("/somewhere/hero-step00000002.safetensors"))
    told(robot, "Saved as hero-step00000002.safetensors")


def test_without_a_prompt_there_is_no_preview_now(on_page, bake):
    robot = on_page(sample_prompts=None)
    bake.step(1)
    told(robot, "1 of 100")
    robot.press("<Alt-v>")
    assert bake.asked == []


# --- previews ---------------------------------------------------------------------------------


def test_the_slider_shows_the_pictures_of_its_step(on_page, bake, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(preview_strip, "open_file", lambda path: opened.append(path.stem))
    robot = on_page()
    strip = robot.page._strip
    bake.step(1)
    for step in (20, 40, 60):
        for prompt in (1, 2):
            bake.say(Preview(picture(tmp_path, f"{step}-{prompt}"), "a hero", step))
    told(robot, "Previews at step 60")
    robot.page.frame.show(strip)

    def shown():
        robot.pump(0.1)
        opened.clear()
        for button in strip._pictures.winfo_children():
            button.invoke()
        return opened[:]

    assert shown() == ["60-1", "60-2"]
    strip.slider.focus_force()
    strip.slider.set(1)
    assert "Previews at step 40" in robot.seen() and shown() == ["40-1", "40-2"]
    bake.say(Preview(picture(tmp_path, "80-1"), "a hero", 80))
    robot.pump(0.2)
    assert shown() == ["40-1", "40-2"], "an older one that was chosen stays"
    strip.slider.set(0)
    assert "Previews at step 20" in robot.seen() and shown() == ["20-1", "20-2"]
    strip.slider.set(3)
    bake.say(Preview(picture(tmp_path, "100-1"), "a hero", 100))
    told(robot, "Previews at step 100")
    assert shown() == ["100-1"], "the newest is followed again"


@pytest.mark.parametrize("key", ["<Return>", "<space>"])
def test_a_preview_is_reached_and_opened_by_the_keyboard(
    on_page, bake, tmp_path, monkeypatch, key
):  # fmt: skip
    opened = []
    monkeypatch.setattr(preview_strip, "open_file", lambda path: opened.append(path.stem))
    robot = on_page()
    bake.step(1)
    bake.say(*(Preview(picture(tmp_path, f"{number}"), "a hero", 20) for number in (1, 2)))
    told(robot, "Previews at step 20")
    second = robot.page._strip._pictures.winfo_children()[1]
    robot.find("Stop after this round").focus_force()
    for _ in range(12):
        robot.press("<Tab>")
        if robot.root.focus_get() is second:
            break
    assert robot.root.focus_get() is second and in_view(robot, second)
    assert second.instate(["focus"])
    robot.press(key)
    assert opened == ["2"]
    bake.say(Preview(picture(tmp_path, "3"), "a hero", 40), Preview(picture(tmp_path, "4"), "", 40))
    told(robot, "Previews at step 40")
    robot.pump(0.1)
    robot.press(key)
    assert opened == ["2", "4"], "the keyboard stays at the second picture"


# --- the end ----------------------------------------------------------------------------------


def test_at_the_end_a_sound_is_asked_for(on_page, bake, monkeypatch):
    called = []
    monkeypatch.setattr(bake_page, "call_for_attention", called.append)
    robot = on_page()
    bake.step(1)
    robot.pump(0.1)
    assert not called
    bake.finish()
    robot.until(lambda: robot.page.name == "finished")
    assert called == [robot.root]


def test_who_stops_a_bake_is_not_called(on_page, bake, monkeypatch):
    called = []
    monkeypatch.setattr(bake_page, "call_for_attention", called.append)
    robot = on_page()
    bake.step(1)
    told(robot, "1 of 100")
    robot.click("Pause")
    bake.say(Ended(2))
    robot.until(lambda: not robot.page.busy)
    assert not called


def test_attention_is_a_sound_and_a_flash_until_it_is_looked_at(monkeypatch):
    calls = []

    class Root:
        def bell(self):
            calls.append("bell")

        def winfo_id(self):
            return 7

    class User32:
        def GetParent(self, window):  # noqa: N802
            return window * 6

        def FlashWindowEx(self, pointer):  # noqa: N802
            info = pointer._obj
            calls.append((info.size, info.window, info.flags))

    windll = type("WinDll", (), {"user32": User32()})()
    monkeypatch.setattr(attention.ctypes, "windll", windll, raising=False)
    monkeypatch.setattr(attention, "sys", type("Sys", (), {"platform": "win32"}))
    attention.call_for_attention(Root())
    size = attention.ctypes.sizeof(attention.FlashInfo)
    assert calls == ["bell", (size, 42, 0x2 | 0xC)]
    monkeypatch.setattr(attention, "sys", type("Sys", (), {"platform": "linux"}))
    attention.call_for_attention(Root())
    assert calls[2:] == ["bell"]


def test_the_ways_of_a_bake_that_ended_do_not_lead_away_from_the_next(on_page, bake, tmp_path):
    robot = on_page()
    bake.say(Saved(str(tmp_path), what="state"), Ended(2))
    robot.until(lambda: not robot.page.busy)
    robot.click("Continue")
    bake.begin()
    bake.step(1)
    told(robot, "1 of 100")
    robot.press("<Alt-g>")
    assert robot.page.name == "bake" and robot.page.busy
    bake.fail("It is too dark.")
    robot.until(lambda: not robot.page.busy)
    robot.press("<Alt-g>")
    assert robot.page.name == "start"


@pytest.mark.parametrize("same", [True, False])
def test_curve_and_previews_stay_only_for_the_bake_that_goes_on(on_page, bake, tmp_path, same):
    states = [str(tmp_path / name) for name in ("a-state", "b-state")]
    robot = on_page()
    bake.step(1)
    bake.say(Preview(picture(tmp_path, "one"), "a hero", 1), Saved(states[0], what="state"))
    bake.say(Ended(2))
    robot.until(lambda: not robot.page.busy)
    robot.press("<Alt-g>")
    robot.wizard.facts.resume = states[0 if same else 1]  # as the first page does
    show_page(robot.wizard, "bake")
    bake.begin()
    bake.step(2)
    told(robot, "2 of 100")
    assert robot.page._curve.steps == ([1, 2] if same else [2])
    assert ("Previews at step 1" in robot.seen()) == same


# --- the queue --------------------------------------------------------------------------------


@pytest.fixture
def queue_bakes(on_page, bake, tmp_path):
    """A robot whose window bakes the first of three of the queue."""
    store = QueueStore(tmp_path / "queue")
    bakes = [store.add({"output_name": name}) for name in ("one", "two", "three")]
    robot = on_page("queue")
    with store.only_runner():
        store.update(bakes[0].id, state=RUNNING)
        bake.say(Facts({"begins": "one"}))
        bake.begin()
        bake.step(1)
        told(robot, "“one” is learning.")
        yield robot, store, bakes


def press(robot, text, row):
    """Press the button with this text on the card of a row, counted from 0."""
    card = robot.page._list.winfo_children()[row]
    buttons = [w for w in robot.widgets(card) if isinstance(w, ttk.Button)]
    robot.click(next(button for button in buttons if button.cget("text") == text))


def test_the_queue_is_shown_and_changed_while_it_bakes_and_one_comes_back(queue_bakes, bake):
    robot, store, _ = queue_bakes
    assert "Pause" not in robot.seen().splitlines()
    robot.press("<Alt-q>")
    assert robot.page.name == "queue" and "1.  one" in robot.seen() and "baking" in robot.seen()
    press(robot, "Up", 2)
    assert [one.name for one in store.read().bakes] == ["one", "three", "two"]
    robot.click("Pause after this one")
    assert store.read().paused and "End the pause" in robot.seen()
    assert robot.wizard.footer.back.instate(["disabled"])
    edit = [w for w in robot.widgets() if isinstance(w, ttk.Button) and w.cget("text") == "Change"]
    assert edit and all(button.instate(["disabled"]) for button in edit)
    bake.step(50)
    robot.pump(0.2)
    robot.press("<Alt-k>")
    assert robot.page.name == "bake" and bake.started == 1, "it goes on, and is not begun anew"
    assert "50 of 100 steps" in robot.seen()


def test_a_bake_that_ends_while_the_queue_is_looked_at_shows_its_end(queue_bakes, bake):
    robot, store, bakes = queue_bakes
    robot.click("Show the queue")
    store.update(bakes[0].id, state="done", result="/out/one.safetensors", seconds=60)
    bake.say(Facts({"ended": bakes[0].id}))
    bake.finish("/out/one.safetensors")
    robot.until(lambda: robot.page.name == "finished")
    assert "one.safetensors · took 1 min" in robot.seen()
    robot.pump(0.2)


def test_leaving_from_the_queue_s_page_asks_whether_to_stop(queue_bakes, bake):
    robot, _, _ = queue_bakes
    robot.click("Show the queue")
    asked = robot.answer(1)
    robot.press("<Escape>")
    robot.until(asked)
    assert "Stop the bake?" in asked()[0] and robot.page.name == "bake"
    assert bake.asked == ["stop"] and robot.open


def test_a_warning_tells_which_bake_of_the_queue_it_is_of(queue_bakes, bake):
    robot, _, _ = queue_bakes
    bake.say(Note("Preview 1 is black.", True), Facts({"begins": "two"}))
    bake.begin()
    bake.say(Note("Preview 1 is black.", True))
    told(robot, "two: Preview 1 is black.")
    assert "one: Preview 1 is black." in robot.seen()
    assert "Whole bake" not in robot.seen(), "the next one is being prepared"
    assert robot.page._bar.winfo_ismapped()
    bake.finish()
    robot.until(lambda: robot.page.name == "finished")
    assert "one: Preview 1 is black." in robot.seen(), "and at the end"


@pytest.mark.parametrize(
    ("states", "title"),
    [
        (("done",), "Your LoRA is ready"),
        (("done", "done"), "Your LoRAs are ready"),
        (("done", "failed", "stopped"), "Some LoRAs are ready, others are not"),
        (("failed", "stopped"), "No LoRA was finished"),
    ],
)
def test_the_title_says_what_came_of_the_queue(on_page, bake, tmp_path, states, title):
    store = QueueStore(tmp_path / "queue")
    robot = on_page("queue")
    folder = "/" + "/".join(["a folder whose name is long"] * 5)
    for number, state in enumerate(states):
        one = store.add({"output_name": f"bake {number}"})
        result = None if state == "failed" else f"{folder}/bake {number}.safetensors"
        error = "The pictures are gone." if state == "failed" else None
        store.update(one.id, state=state, result=result, error=error, seconds=60)
        bake.say(Facts({"ended": one.id}))
    bake.finish("")
    robot.until(lambda: robot.page.name == "finished")
    assert robot.wizard._title.cget("text") == title
    lines = robot.seen().splitlines()
    for number, state in enumerate(states):
        name = f"bake {number}.safetensors · took 1 min"
        assert (name in lines) == (state != "failed")
    assert ("The pictures are gone." in lines) == ("failed" in states)
    assert ("stopped" in lines) == ("stopped" in states)
    assert not any(line.startswith("/") and len(line) > 80 for line in lines)
    assert ("Show in folder" in lines) == (states != ("failed",))


def test_a_stopped_bake_is_told_in_japanese_too(on_page, bake, tmp_path, monkeypatch):
    robot = on_page("queue")
    from easy_scripts.wizard.catalogue import Catalogue

    robot.page.texts = robot.wizard.texts = Catalogue("train", "ja")
    for page in robot.wizard.pages:
        page.texts = robot.wizard.texts
    store = QueueStore(tmp_path / "queue")
    one = store.add({"output_name": "one"})
    store.update(one.id, state="stopped")
    bake.say(Facts({"ended": one.id}))
    bake.finish("")
    robot.until(lambda: robot.page.name == "finished")
    assert "停止" in robot.seen().splitlines() and "stopped" not in robot.seen()


@pytest.mark.parametrize("kind", ["bake", "practice", "queue"])
@pytest.mark.parametrize("ends_well", [True, False])
def test_back_leads_to_pages_that_were_filled_in(on_page, bake, tmp_path, kind, ends_well):
    robot = on_page(kind)
    if kind == "queue":
        one = QueueStore(tmp_path / "queue").add({"output_name": "one"})
        bake.say(Facts({"ended": one.id}))
    bake.finish() if ends_well else bake.fail("It is too dark.")
    robot.until(lambda: not robot.wizard.page.busy)
    robot.pump()
    assert robot.page.name == ("finished" if ends_well else "bake")
    robot.press("<Alt-b>")
    assert robot.page.name == ("summary" if kind == "bake" else "start")


def test_a_queue_that_cannot_be_read_at_the_end_is_a_sentence(on_page, bake, tmp_path):
    robot = on_page("queue")
    store = QueueStore(tmp_path / "queue")
    bake.say(Facts({"ended": store.add({"output_name": "one"}).id}))
    store.path.write_text("{")
    bake.finish("")
    robot.until(lambda: robot.page.name == "finished")
    assert "is damaged" in robot.seen() and robot.wizard._title.cget("text") == "The queue"
    assert robot.root.focus_get().cget("text") == "Train another"


@pytest.mark.parametrize(
    ("kind", "step", "resume", "keeps"),
    [("bake", 1, None, True), ("bake", None, None, False), ("bake", None, "/out/a-state", True),
     ("practice", 1, None, False), ("queue", None, None, True)],
)  # fmt: skip
def test_who_stops_is_promised_no_more_than_holds(on_page, bake, kind, step, resume, keeps):
    robot = on_page(kind, resume=resume)
    if step:
        bake.step(step)
        told(robot, "1 of 100")
    asked = robot.answer(0)
    robot.press("<Escape>")
    robot.until(asked)
    assert ("is saved, and you can go on later" in asked()[0]) == keeps
    assert ("begins from the start" in asked()[0]) != keeps


@pytest.mark.parametrize(("kind", "log"), [("practice", "practice-1.log"), ("bake", "train-1.log")])
def test_the_log_that_is_opened_is_the_bake_s(on_page, bake, tmp_path, monkeypatch, kind, log):
    for name in ("practice-1.log", "train-1.log"):
        (tmp_path / name).write_text("")
    opened = []
    monkeypatch.setattr(work_page, "LOG_FOLDER", tmp_path)
    monkeypatch.setattr(work_page, "open_file", opened.append)
    robot = on_page(kind)
    bake.say(Ended(70))
    robot.until(lambda: not robot.page.busy)
    robot.click("Open the log")
    assert opened == [tmp_path / log]


@pytest.mark.parametrize("done", [True, False])
def test_a_pause_stays_when_a_namesake_is_done_or_paused(on_page, bake, tmp_path, done):
    for number in (1, 2, 3):
        (tmp_path / f"hero-2-step0000000{number}-state").mkdir()
    first, second, third = (str(path) for path in sorted(tmp_path.glob("hero-2-*")))
    config = {"output_name": "hero", "output_dir": str(tmp_path)}
    paused = {"config": config, "state": str(tmp_path)}
    robot = on_page(**config)
    memory = robot.wizard.memory
    memory.keep("paused", [paused])
    for state, resumed in ((first, None), (second, first)):
        assert bake.config.get("resume") == resumed
        bake.say(Saved(state, what="state"), Ended(2))
        robot.until(lambda: not robot.page.busy)
        assert [one["state"] for one in memory.get("paused")] == [state, paused["state"]]
        robot.click("Continue")
    assert bake.config["output_name"] == bake.about.name == "hero-2"
    assert bake.about.resume == second
    bake.begin()
    bake.step(3)
    told(robot, "“hero-2” is learning.")
    bake.finish() if done else bake.say(Saved(third, what="state"), Ended(2))
    robot.until(lambda: not robot.page.busy)
    states = [one["state"] for one in memory.get("paused")]
    assert states == ([] if done else [third]) + [paused["state"]]
