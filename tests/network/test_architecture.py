from itertools import pairwise

import pytest

from cifar_core.network import architecture
from cifar_core.network.architecture import blocks, convolutions, cost, cut_block, cut_shape

ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)


def test_blocks_are_those_of_the_paper_at_width_one():
    table = blocks(1.0)
    assert [block.index for block in table] == list(range(17))
    expected = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320]
    assert [block.out_channels for block in table] == expected
    assert [block.index for block in table if block.stride == 2] == [1, 3, 6, 13]
    assert [block.index for block in table if block.residual] == [2, 4, 5, 7, 8, 9, 11, 12, 14, 15]
    assert table[0].output_layer == "expanded_conv_project_BN"
    assert table[12].output_layer == "block_12_add"
    assert table[16].output_layer == "block_16_project_BN"


def test_stem_and_top_are_rounded_as_keras_does():
    assert [architecture.stem_channels(alpha) for alpha in ALPHAS] == [16, 16, 24, 32, 40, 48]
    assert [architecture.top_channels(alpha) for alpha in ALPHAS] == [1280, 1280, 1280, 1280, 1664, 1792]


def test_the_cut_lies_below_the_fine_tuned_blocks():
    assert cut_block(4) == 12
    assert cut_block(16) == 0
    assert cut_shape(0.5, 96, 4) == (6, 6, 48)
    assert cut_shape(0.5, 96, 11) == (12, 12, 16)
    assert cut_shape(0.5, 32, 1) == (1, 1, 80)


@pytest.mark.parametrize("fine_tune_blocks", [0, 17])
def test_there_is_no_cut_where_all_or_nothing_is_frozen(fine_tune_blocks):
    assert cut_block(fine_tune_blocks) is None
    assert cut_shape(0.5, 96, fine_tune_blocks) is None


# Without the head: keras.applications' published counts, 706,224 and 2,257,984, and their like.
@pytest.mark.parametrize(
    ("alpha", "parameters"),
    [(0.35, 580_586), (0.5, 876_602), (0.75, 1_552_442), (1.0, 2_428_362), (1.3, 3_987_114), (1.4, 4_601_674)],
)
def test_parameters_equal_keras_count(alpha, parameters):
    assert cost(alpha, 96, 128, 4).parameters == parameters


def test_multiply_adds_equal_the_papers():
    # Sandler et al. 2018, table 4: 300 million at 224 px, with a layer of 1,000 classes.
    backbone = sum(row.multiply_adds for row in convolutions(1.0, 224))
    assert (backbone + 1280 * 1000) / 1e6 == pytest.approx(300, rel=0.01)


def test_fine_tuning_more_blocks_moves_work_from_the_backbone():
    costs = [cost(0.5, 96, 128, n) for n in range(18)]
    assert all(a.frozen_multiply_adds > b.frozen_multiply_adds for a, b in pairwise(costs))
    assert all(a.fine_tuned_parameters < b.fine_tuned_parameters for a, b in pairwise(costs))
    assert costs[0].fine_tuned_parameters == costs[0].head_parameters
    assert costs[17].fine_tuned_parameters == costs[17].parameters
    assert costs[17].frozen_multiply_adds == 0


def test_rows_name_keras_layers_and_their_shapes():
    rows = {row.name: row for row in convolutions(0.5, 96)}
    assert (rows["Conv1"].side, rows["Conv1"].channels) == (48, 16)
    assert (rows["block_1_depthwise"].side, rows["block_1_depthwise"].channels) == (24, 48)
    assert rows["block_12_project"].block == 12
    assert (rows["Conv_1"].side, rows["Conv_1"].channels, rows["Conv_1"].block) == (3, 1280, 17)
    assert cost(0.5, 96, 64, 4).head_parameters == 4 * 1280 + 1281 * 64 + 65 * 10


@pytest.mark.slow
@pytest.mark.parametrize("image_size", [32, 96])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_table_equals_the_keras_model(alpha, image_size):
    import keras

    base = keras.applications.MobileNetV2(
        input_shape=(image_size, image_size, 3), alpha=alpha, include_top=False, weights=None
    )
    for block in blocks(alpha)[:-1]:
        shape = base.get_layer(block.output_layer).output.shape[1:]
        assert cut_shape(alpha, image_size, 16 - block.index) == shape
    for row in convolutions(alpha, image_size):
        assert base.get_layer(row.name).output.shape[1:] == (row.side, row.side, row.channels)
        assert base.get_layer(row.name).kernel.shape == row.kernel
    counted = cost(alpha, image_size, 128, 4)
    assert counted.parameters - counted.head_parameters == base.count_params()
