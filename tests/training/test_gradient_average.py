"""The message that averages gradients, against the mean worked out by hand."""

from types import SimpleNamespace

import torch

from scripts.training.loop import average_gradients


def test_gradients_become_their_mean_and_missing_ones_count_as_zero():
    weights = [torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(4))]
    weights[0].grad = torch.arange(6.0).view(2, 3)
    other = torch.cat([torch.ones(6), torch.full((4,), 2.0)])

    class TwoProcesses:
        def reduce(self, flat, reduction):
            assert reduction == "mean"
            return (flat + other) / 2

    average_gradients(SimpleNamespace(parameters=weights, accelerator=TwoProcesses()))
    assert torch.equal(weights[0].grad, (torch.arange(6.0).view(2, 3) + 1) / 2)
    assert torch.equal(weights[1].grad, torch.ones(4))
