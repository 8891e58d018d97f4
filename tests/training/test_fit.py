"""What a phase is compiled with."""

import dataclasses

from cifar_core.training import fit


def test_a_cosine_of_a_single_step_is_possible(tiny_config):
    config = dataclasses.replace(tiny_config, schedule="cosine")
    optimizer = fit._optimizer(config, fit.Phase("head", epochs=1, batch_size=512, learning_rate=1e-3), steps=1)
    assert 0 <= float(optimizer.learning_rate) <= 1e-3
