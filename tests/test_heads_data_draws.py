"""One seed draws for several ends, and none of them what another draws, or the split."""

import numpy as np
import pytest

from heads.data.draws import DRAWS, generator_of


def test_no_two_ends_of_a_seed_draw_the_same():
    drawn = [generator_of(7, draw).random(8).tobytes() for draw in DRAWS]
    assert len({*drawn, np.random.default_rng(7).random(8).tobytes()}) == len(DRAWS) + 1


@pytest.mark.parametrize("draw", DRAWS)
def test_the_same_seed_draws_the_same_and_another_another(draw):
    first, again, other = (generator_of(seed, draw).random(8).tolist() for seed in (3, 3, 4))
    assert first == again != other
