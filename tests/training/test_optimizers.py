"""Optimisers: names, arguments, first steps in closed form, fall-back, schedulers, resuming."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scripts.core.errors import SettingError
from scripts.settings.train import OPTIMIZERS, TrainSettings
from scripts.training.optimizer_choice import (
    ENTRIES,
    choose_optimizer,
    find_entry,
    validate_optimizer,
)
from scripts.training.optimizer_sources import arguments_of, library_classes
from scripts.training.optimizers import (
    create_optimizer,
    create_scheduler,
    current_learning_rates,
    evaluation_weights,
)

GRADIENT = torch.tensor([0.5, -2.0, 0.01])
START = torch.tensor([1.0, -1.0, 0.5])


def groups_of(*weights, rate=1e-2):
    return [{"params": [weight], "lr": rate, "name": str(number)}
            for number, weight in enumerate(weights)]  # fmt: skip


def make(optimizer_type, weights, arguments=None, rate=1e-2, **settings):
    settings = TrainSettings(optimizer_type=optimizer_type, learning_rate=rate,
                             optimizer_args=arguments or {}, **settings)  # fmt: skip
    return create_optimizer(settings, groups_of(*weights, rate=rate), "cpu"), settings


def after_steps(optimizer_type, arguments, count=1, rate=1e-2):
    """The weights after `count` steps from START with the same GRADIENT each time."""
    weight = torch.nn.Parameter(START.clone())
    made, _ = make(optimizer_type, [weight], arguments, rate)
    for _ in range(count):
        weight.grad = GRADIENT.clone()
        made.optimizer.step()
    return weight.detach()


# --- First steps in closed form -------------------------------------------------------------


def test_adamw_first_step():
    # m / √v is the sign of the gradient at the first step; decay is decoupled.
    expected = START * (1 - 1e-2 * 0.1) - 1e-2 * GRADIENT / (GRADIENT.abs() + 1e-8)
    stepped = after_steps("AdamW", {"weight_decay": "0.1", "betas": "0.9,0.99"})
    torch.testing.assert_close(stepped, expected)


def test_lion_first_two_steps():
    stepped = after_steps("Lion", {"weight_decay": "0.1"})
    expected = START * (1 - 1e-2 * 0.1) - 1e-2 * GRADIENT.sign()
    torch.testing.assert_close(stepped, expected)
    expected = expected * (1 - 1e-2 * 0.1) - 1e-2 * GRADIENT.sign()
    torch.testing.assert_close(after_steps("Lion", {"weight_decay": "0.1"}, 2), expected)


def test_sgd_nesterov_first_two_steps():
    # Nesterov: the step is g + 0.9·buffer, with buffer g, then 1.9 g.
    expected = START - 1e-2 * (1 + 0.9) * GRADIENT
    torch.testing.assert_close(after_steps("SGDNesterov", {}), expected)
    expected = expected - 1e-2 * (1 + 0.9 * 1.9) * GRADIENT
    torch.testing.assert_close(after_steps("SGDNesterov", {}, 2), expected)


def test_adafactor_first_step_with_its_own_rate():
    # relative_step: rate min(1e-2, 1/√1) · rms(weights); update g/√(g² + 1e-30), clipped to rms 1
    expected = START - 1e-2 * (START**2).mean().sqrt() * GRADIENT.sign()
    torch.testing.assert_close(after_steps("AdaFactor", {}, rate=123.0), expected)


@pytest.mark.parametrize(
    ("eight_bit", "plain"),
    [("AdamW8bit", "AdamW"), ("PagedAdamW8bit", "AdamW"), ("Lion8bit", "Lion")],
)
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported")
def test_eight_bit_steps_on_the_cpu_are_close_to_plain_ones(eight_bit, plain):
    torch.manual_seed(0)
    start, gradients = torch.randn(64, 80), [torch.randn(64, 80) for _ in range(3)]
    ends = []
    for name in (eight_bit, plain):
        weight = torch.nn.Parameter(start.clone())
        made, _ = make(name, [weight], {"weight_decay": 0})
        for gradient in gradients:
            weight.grad = gradient.clone()
            made.optimizer.step()
        ends.append(weight.detach() - start)
        if name == eight_bit:
            state = made.optimizer.state[weight]
            assert state["state1"].dtype == torch.uint8
            assert not made.notes
    difference = (ends[0] - ends[1]).norm() / ends[1].norm()
    assert difference < 0.12


def test_sgd_nesterov_8bit_moves_against_the_gradient():
    weight = torch.nn.Parameter(torch.ones(64, 80))
    made, _ = make("SGDNesterov8bit", [weight])
    weight.grad = torch.linspace(-1, 1, 64 * 80).view(64, 80)
    made.optimizer.step()
    torch.testing.assert_close(weight.detach(), 1 - 1e-2 * weight.grad, rtol=0, atol=2e-4)


# --- Every named optimiser works --------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported")
def test_named_optimisers_lower_a_quadratic(name):
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(64, 64)), torch.nn.Parameter(torch.randn(4, 8, 1, 1))]
    finds_rate = ENTRIES[name.lower()].finds_rate
    made, settings = make(name, weights, rate=1.0 if finds_rate else 1e-2, lr_warmup_steps=3)
    scheduler = create_scheduler(made.optimizer, settings, 120)
    losses = []
    for _ in range(120):
        made.optimizer.zero_grad()
        loss = sum((weight**2).mean() for weight in weights)
        loss.backward()
        made.optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    slow = ("SGDNesterov", "SGDNesterov8bit")  # the mean's gradient is tiny: closed form above
    assert losses[-1] < losses[0] * (0.9999 if name in slow else 0.8), losses[::20]


@pytest.mark.parametrize(
    "name", ["Adan", "NAdam", "Adalite", "StableAdamW", "ScheduleFreeAdamW", "Tiger", "Muon",
             "torch.optim.RAdam", "pytorch_optimizer.AdaFactor", "dadaptation.DAdaptLion"],
)  # fmt: skip
def test_any_class_of_the_libraries_can_be_named(name):
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 4096).view(64, 64))
    made, _ = make(name, [weight], rate=1.0 if find_entry(name).finds_rate else 1e-2)
    before = (weight**2).sum().item()
    for _ in range(5):
        made.optimizer.zero_grad()
        (weight**2).sum().backward()
        made.optimizer.step()
    assert (weight**2).sum().item() < before


# --- Names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "class_path"),
    [
        ("adamw", "torch.optim.AdamW"),
        ("ADAMW8BIT", "bitsandbytes.optim.AdamW8bit"),
        ("bitsandbytes.optim.AdamW8bit", "bitsandbytes.optim.AdamW8bit"),
        ("pytorch_optimizer.CAME", "pytorch_optimizer.optimizer.CAME"),
        ("came", "pytorch_optimizer.optimizer.CAME"),
        ("adafactor", "transformers.optimization.Adafactor"),
        ("transformers.optimization.Adafactor", "transformers.optimization.Adafactor"),
        ("prodigyopt.Prodigy", "pytorch_optimizer.optimizer.Prodigy"),
        ("DAdaptAdamPreprint", "pytorch_optimizer.optimizer.DAdaptAdam"),
        ("SGDNesterov", "torch.optim.SGD"),
        ("torch.optim.SGD", "torch.optim.SGD"),
        ("Rprop", "torch.optim.Rprop"),
        ("AdamWScheduleFree", "pytorch_optimizer.optimizer.ScheduleFreeAdamW"),
    ],
)
def test_names_and_their_other_spellings(name, class_path):
    entry = find_entry(name)
    assert f"{entry.module}.{entry.class_name}" == class_path


def test_torch_sgd_by_path_is_plain_sgd():
    assert not find_entry("torch.optim.SGD").arguments
    assert find_entry("SGDNesterov").arguments == {"momentum": 0.9, "nesterov": True}


@pytest.mark.parametrize(
    ("name", "hint"),
    [("AdamW8bits", "AdamW8bit"), ("Prodigi", "Prodigy"), ("os.system", "AdamW"), ("", "AdamW")],
)
def test_an_unknown_optimiser_names_close_ones(name, hint):
    with pytest.raises(SettingError, match=hint) as caught:
        find_entry(name)
    assert caught.value.setting == "optimizer_type" and f'"{name}"' in str(caught.value)


@pytest.mark.parametrize("name", ["AdamMini", "LBFGS", "SophiaH"])
def test_optimisers_that_need_more_than_gradients_are_refused(name):
    with pytest.raises(SettingError, match=r"cannot be used here.*AdamW") as caught:
        make(name, [torch.nn.Parameter(torch.ones(8, 8))])
    assert caught.value.setting == "optimizer_type"


def test_an_optimiser_that_cannot_start_at_rate_zero_says_so():
    weight = [torch.nn.Parameter(torch.ones(8, 8))]
    make("Gravity", weight)
    with pytest.raises(SettingError, match="Set the warm-up to 0") as caught:
        make("Gravity", weight, lr_warmup_steps=5)
    assert caught.value.setting == "lr_warmup_steps"


# --- Arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.9,0.99", (0.9, 0.99)), ("(0.9, 0.99)", (0.9, 0.99)), ("true", True), ("None", None),
     ("1e-8", 1e-8), ("cosine", "cosine"), ([0.9, 0.99], (0.9, 0.99)), (3, 3)],
)  # fmt: skip
def test_argument_values(text, value):
    # fused has the default None, which says nothing of what it may be
    settings = TrainSettings(optimizer_type="AdamW", optimizer_args={"fused": text})
    assert choose_optimizer(settings).arguments == {"fused": value}


def test_a_wrong_argument_names_the_right_ones():
    settings = TrainSettings(optimizer_type="AdamW", optimizer_args={"weight_decy": "0.1"})
    with pytest.raises(SettingError, match="Did you mean weight_decay") as caught:
        validate_optimizer(settings)
    assert caught.value.setting == "optimizer_args"
    assert "betas, eps, weight_decay, amsgrad" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "AdamW",
            {"betas": "0.9"},
            "betas is 0.9, but needs two numbers, such as betas=0.9,0.999.",
        ),
        ("AdamW8bit", {"betas": "0.9,x"}, "needs two numbers"),
        ("CAME", {"betas": "0.9,0.99"}, "needs three numbers"),
        ("Lion", {"weight_decay": "abc"}, "weight_decay is abc, but needs a number, such as"),
        ("AdamW", {"weight_decay": "0.1,0.2"}, "weight_decay is 0.1,0.2, but needs a number"),
        ("Prodigy", {"weight_decouple": "maybe"}, "needs true or false, such as weight_decouple="),
        ("AdaFactor", {"eps": "1e-30"}, "eps is 1e-30, but needs two numbers"),
    ],
)
def test_values_of_the_wrong_kind_are_refused_before_torch_is_there(name, arguments, message):
    with pytest.raises(SettingError) as caught:
        validate_optimizer(TrainSettings(optimizer_type=name, optimizer_args=arguments))
    assert caught.value.setting == "optimizer_args" and message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("AdamW", {"weight_decay": "1", "amsgrad": "true", "fused": "false"}),
        ("AdaFactor", {"relative_step": "0", "clip_threshold": "1", "beta1": "0.9"}),
        ("Adan", {"betas": "0.98,0.92,0.99"}),
        ("Prodigy", {"beta3": "None", "d_coef": "2"}),
    ],
)
def test_values_of_the_right_kind_pass(name, arguments):
    assert choose_optimizer(TrainSettings(optimizer_type=name, optimizer_args=arguments))


@pytest.mark.parametrize("name", ["LBFGS", "torch.optim.LBFGS", "pytorch_optimizer.LBFGS"])
def test_the_plan_refuses_optimisers_whose_step_needs_a_function(name):
    with pytest.raises(SettingError, match=r"cannot be used here.*AdamW") as caught:
        validate_optimizer(TrainSettings(optimizer_type=name))
    assert caught.value.setting == "optimizer_type"


def test_a_refused_value_is_an_error_of_the_arguments():
    with pytest.raises(SettingError, match="refuses its arguments") as caught:
        make("AdamW", [torch.nn.Parameter(torch.ones(4))], {"betas": "2,3"})
    assert caught.value.setting == "optimizer_args"


def test_the_rate_is_not_an_argument_and_missing_arguments_are_named():
    with pytest.raises(SettingError, match="Use learning_rate"):
        validate_optimizer(TrainSettings(optimizer_type="AdamW", optimizer_args={"lr": "1"}))
    with pytest.raises(SettingError, match="needs num_iterations"):
        validate_optimizer(TrainSettings(optimizer_type="Ranger21"))


def test_d_adaptation_is_decoupled_unless_told_otherwise():
    settings = TrainSettings(optimizer_type="DAdaptation", learning_rate=1.0)
    assert choose_optimizer(settings).arguments == {"weight_decouple": True}
    other_names = {"decouple": "True", "use_bias_correction": "True"}
    settings = TrainSettings(
        optimizer_type="Prodigy", learning_rate=1.0, optimizer_args=other_names
    )
    choice = choose_optimizer(settings)
    assert choice.arguments == {"weight_decouple": True, "bias_correction": True}


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_arguments_read_from_the_source_are_those_of_the_class(name):
    import inspect

    entry = ENTRIES[name]
    kind = getattr(importlib.import_module(entry.module), entry.class_name)
    parameters = inspect.signature(kind.__init__).parameters.values()
    named = {each.name for each in parameters if each.kind is not each.VAR_KEYWORD}
    read = arguments_of(entry.module, entry.class_name)
    assert set(read) == named - {"self", "params", "lr"}
    assert set(entry.arguments) <= set(read)
    for each in parameters:
        if each.name in read:
            assert read[each.name].needed == (each.default is each.empty)
            assert read[each.name].default in (None, each.default)


def test_library_classes_are_those_of_the_library():
    import pytorch_optimizer

    listed = set(pytorch_optimizer.get_supported_optimizers())
    assert len(library_classes()) > 100
    assert set(library_classes()) <= listed


def test_validation_loads_no_library():
    code = (
        "import sys\n"
        "from scripts.settings.train import TrainSettings\n"
        "from scripts.training.optimizer_choice import validate_optimizer\n"
        "for name in ('AdamW8bit', 'CAME', 'AdaFactor', 'Adan'):\n"
        "    validate_optimizer(TrainSettings(optimizer_type=name))\n"
        "loaded = {'torch', 'bitsandbytes', 'pytorch_optimizer', 'transformers', 'numpy'}\n"
        "sys.exit(', '.join(loaded & set(sys.modules)) or 0)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


# --- Notes and titles -------------------------------------------------------------------------


def test_titles_are_those_of_the_reference():
    weight = [torch.nn.Parameter(torch.ones(4))]
    made, _ = make("AdamW", weight, {"weight_decay": "0.1", "betas": "0.9,0.99"})
    assert made.title == "torch.optim.adamw.AdamW(weight_decay=0.1,betas=(0.9, 0.99))"
    assert make("AdamW8bit", weight)[0].title == "bitsandbytes.optim.adamw.AdamW8bit"


def test_optimisers_that_find_the_rate_warn_of_low_and_different_rates():
    low = TrainSettings(optimizer_type="Prodigy", learning_rate=1e-4)
    assert "0.0001 is very low" in validate_optimizer(low)[0]
    usual = TrainSettings(optimizer_type="Prodigy", learning_rate=1.0)
    assert validate_optimizer(usual) == []
    different = TrainSettings(optimizer_type="Prodigy", learning_rate=1.0, text_encoder_lr=0.5)
    assert "one learning rate for all parts" in validate_optimizer(different)[0]


def test_notes_on_adafactor_and_schedule_free():
    own = TrainSettings(optimizer_type="AdaFactor", lr_scheduler="adafactor")
    assert "chooses its own learning rates" in validate_optimizer(own)[0]
    given = TrainSettings(optimizer_type="AdaFactor", lr_scheduler="adafactor",
                          optimizer_args={"relative_step": "False"})  # fmt: skip
    assert "stays constant" in validate_optimizer(given)[0]
    free = TrainSettings(optimizer_type="ScheduleFreeAdamW", lr_scheduler="cosine")
    assert "without a schedule" in validate_optimizer(free)[0]


# --- When bitsandbytes cannot run -------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stand_in"),
    [("AdamW8bit", torch.optim.AdamW), ("PagedAdamW8bit", torch.optim.AdamW),
     ("SGDNesterov8bit", torch.optim.SGD), ("Lion8bit", None)],
)  # fmt: skip
@pytest.mark.parametrize("failure", ["missing", "native call"])
def test_eight_bit_falls_back_with_a_note(name, stand_in, failure, monkeypatch):
    if failure == "missing":
        monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    else:
        import bitsandbytes.optim

        class Broken(torch.optim.SGD):
            def __init__(self, params, lr, **arguments):
                super().__init__(params, lr)

            def step(self, closure=None):
                raise RuntimeError("CUDA setup failed:\nlibbitsandbytes not found")

        monkeypatch.setattr(bitsandbytes.optim, ENTRIES[name.lower()].class_name, Broken)
    weight = torch.nn.Parameter(torch.ones(64, 64))
    arguments = {"weight_decay": "0.1", "min_8bit_size": "1024"}
    made, _ = make(name, [weight], arguments)
    assert len(made.notes) == 1
    assert made.notes[0].startswith(f"{name} does not run on this machine (")
    assert "\n" not in made.notes[0]
    if stand_in is None:
        from pytorch_optimizer import Lion as stand_in  # noqa: N813
    assert type(made.optimizer) is stand_in
    assert made.optimizer.param_groups[0]["weight_decay"] == 0.1
    assert "8bit" not in made.title
    if name == "SGDNesterov8bit":
        assert made.optimizer.param_groups[0]["nesterov"]


def test_wrong_arguments_of_an_eight_bit_optimiser_are_no_reason_to_fall_back():
    with pytest.raises(SettingError) as caught:
        make("AdamW8bit", [torch.nn.Parameter(torch.ones(4))], {"betas": "2,3"})
    assert caught.value.setting == "optimizer_args"


def test_trying_out_leaves_the_random_state_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    make("Kron", [torch.nn.Parameter(torch.ones(8, 8))])
    assert torch.equal(torch.get_rng_state(), before)


# --- Schedulers, rates, resuming --------------------------------------------------------------


def test_scheduler_follows_the_formula_for_every_group_and_resumes():
    settings = TrainSettings(optimizer_type="AdamW", lr_warmup_steps=2, lr_scheduler="linear")

    def fresh():
        weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
        groups = groups_of(*weights)
        groups[1]["lr"] = 4e-2
        made = create_optimizer(settings, groups, "cpu")
        return made.optimizer, create_scheduler(made.optimizer, settings, 10), weights

    def take(optimizer, scheduler, weights, count):
        rates = []
        for _ in range(count):
            rates.append(current_learning_rates(optimizer))
            for weight in weights:
                weight.grad = torch.tensor([0.3, -0.1])
            optimizer.step()
            scheduler.step()
        return rates

    optimizer, scheduler, weights = fresh()
    rates = take(optimizer, scheduler, weights, 10)
    factors = [0, 0.5, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    assert [rate["0"] for rate in rates] == pytest.approx([1e-2 * each for each in factors])
    assert [rate["1"] for rate in rates] == pytest.approx([4e-2 * each for each in factors])

    first, first_scheduler, first_weights = fresh()
    take(first, first_scheduler, first_weights, 4)
    second, second_scheduler, second_weights = fresh()
    for new, old in zip(second_weights, first_weights, strict=True):
        new.data.copy_(old.data)
    second.load_state_dict(first.state_dict())
    second_scheduler.load_state_dict(first_scheduler.state_dict())
    assert take(second, second_scheduler, second_weights, 6) == rates[4:]
    for new, unbroken in zip(second_weights, weights, strict=True):
        assert torch.equal(new, unbroken)


def test_rates_shown_for_optimisers_that_choose_them():
    weight = torch.nn.Parameter(torch.full((4,), 2.0))
    made, settings = make("AdaFactor", [weight], rate=0.5)
    scheduler = create_scheduler(made.optimizer, settings, 10)
    assert current_learning_rates(made.optimizer) == {"0": 0.0}
    weight.grad = torch.ones(4)
    made.optimizer.step()
    scheduler.step()
    assert current_learning_rates(made.optimizer)["0"] == pytest.approx(1e-2 * 2.0)

    made, _ = make("Prodigy", [torch.nn.Parameter(torch.ones(4))], rate=1.0)
    made.optimizer.param_groups[0]["d"] = 3e-4
    assert current_learning_rates(made.optimizer) == {"0": pytest.approx(3e-4)}


def test_schedule_free_weights_are_swapped_only_inside_the_block():
    weight = torch.nn.Parameter(torch.ones(4))
    made, _ = make("ScheduleFreeAdamW", [weight], rate=0.1)
    for _ in range(5):
        weight.grad = torch.ones(4)
        made.optimizer.step()
    training = weight.detach().clone()
    with evaluation_weights(made.optimizer):
        result = weight.detach().clone()
    assert not torch.allclose(training, result)
    torch.testing.assert_close(weight.detach(), training)

    plain, _ = make("AdamW", [weight])
    with evaluation_weights(plain.optimizer):
        assert torch.equal(weight.detach(), training) or torch.allclose(weight, training)


@pytest.mark.parametrize("name", [*OPTIMIZERS, "ScheduleFreeAdamW", "DAdaptLion"])
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported")
def test_resuming_is_bit_exact(name, tmp_path):
    """Three steps, a saved state and three more give what six unbroken steps give."""
    rate = 1.0 if find_entry(name).finds_rate else 1e-2
    gradients = torch.randn(6, 64, 80, generator=torch.Generator().manual_seed(0))

    def fresh():
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 64 * 80).view(64, 80))
        made, settings = make(name, [weight], rate=rate, lr_warmup_steps=2)
        return weight, made.optimizer, create_scheduler(made.optimizer, settings, 8)

    def take(weight, optimizer, scheduler, steps):
        for step in steps:
            weight.grad = gradients[step].clone()
            optimizer.step()
            scheduler.step()

    def save(weight, optimizer, scheduler):
        state = {"weight": weight.detach(), "optimizer": optimizer.state_dict(),
                 "scheduler": scheduler.state_dict()}  # fmt: skip
        torch.save(state, tmp_path / "state.pt")

    unbroken = fresh()
    take(*unbroken, range(3))
    save(*unbroken)
    take(*unbroken, range(3, 6))

    weight, optimizer, scheduler = fresh()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    weight.data.copy_(state["weight"])
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    take(weight, optimizer, scheduler, range(3, 6))
    assert torch.equal(weight, unbroken[0])


@pytest.mark.parametrize("name", ["AdamW8bit", "Lion8bit", "bitsandbytes.optim.AdamW8bit"])
def test_what_setup_saw_fail_is_not_tried_and_the_plan_says_so(name, monkeypatch):
    stand_in = "Lion" if "Lion" in name else "AdamW"
    assert choose_optimizer(TrainSettings(optimizer_type=name)).entry.stand_in == stand_in
    monkeypatch.setenv("EASY_LORA_NO_8BIT", "no library for CUDA 13.0")
    settings = TrainSettings(optimizer_type=name)
    assert choose_optimizer(settings).entry.name == stand_in
    [note] = validate_optimizer(settings)
    assert f"does not run on this machine (no library for CUDA 13.0), so {stand_in} is used" in note
    assert validate_optimizer(TrainSettings(optimizer_type="AdamW")) == []
