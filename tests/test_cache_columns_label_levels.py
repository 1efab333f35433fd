"""Labels that are paths or lists, of which one level is learned."""

import numpy as np
import pytest

from cache.columns.label_levels import label_at, label_levels
from heads.data.labels import make_labels
from heads.errors import SettingError
from heads.settings import TrainSettings


@pytest.mark.parametrize(
    ("cell", "levels"),
    [
        ("Mugs", ["Mugs"]),
        ("Kitchen > Mugs", ["Kitchen", "Mugs"]),
        ("Kitchen>Mugs", ["Kitchen", "Mugs"]),
        ("Home >> Kitchen > Bar >> Mugs", ["Home", "Kitchen > Bar", "Mugs"]),
        ("Home &gt; Kitchen", ["Home", "Kitchen"]),
        ("Home \u203a Kitchen \u203a Mugs", ["Home", "Kitchen", "Mugs"]),
        ("Home \xbb Mugs/Cups", ["Home", "Mugs/Cups"]),
        ("24\xbb7 | A \xbb B", ["24\xbb7", "A \xbb B"]),
        ("24\xbb7", ["24\xbb7"]),
        ("Food / Drinks", ["Food / Drinks"]),
        ("/Categories/Home/Mugs", ["Categories", "Home", "Mugs"]),
        (" /Home/Mugs ", ["Home", "Mugs"]),
        ("/misc", ["/misc"]),
        ("Mugs/Cups", ["Mugs/Cups"]),
        ("A|B \u203a C &gt; D", ["A", "B \u203a C &gt; D"]),
        ("Home|Kitchen |Mugs", ["Home", "Kitchen", "Mugs"]),
        ('["Home", "Kitchen | Bar"]', ["Home", "Kitchen | Bar"]),
        ('["Home >> Kitchen >> Mugs"]', ["Home", "Kitchen", "Mugs"]),
        ("['Home', \"Men's\"]", ["Home", "Men's"]),
        ('[["Beauty", "Hair"], ["Gifts"]]', ["Beauty", "Hair"]),
        ('[{"id": 1, "name": "Kitchen"}, {"id": 2, "name": "Mugs"}]', ["Kitchen", "Mugs"]),
        ('[{"language_tag": "en_US", "value": "MUG"}]', ["MUG"]),
        ("[1, null, 2.5]", ["1", "2.5"]),
        ("[Sale] Mugs", ["[Sale] Mugs"]),
        ("[" * 5000, ["[" * 5000]),
        ("> Mugs >", ["Mugs"]),
        ("[]", []),
        ("", []),
    ],
)
def test_the_names_of_a_path_are_found(cell, levels):
    assert label_levels(cell) == levels


def test_levels_are_counted_from_either_end():
    assert [label_at("a > b > c", level) for level in (1, 2, 3, 4, -1, -2, -3, -4)] == [*"abc", "", *"cba", ""]


def test_rows_without_the_level_are_left_out_and_said():
    cells = ["A > x", "A > y", "B > x", "B", "", "B > y > z"]
    labels = make_labels("kind", cells, usable=np.ones(6, dtype=bool), min_rows=1, level=2)
    assert labels.classes == ["x", "y"]
    assert labels.targets.tolist() == [0, 1, 0, -1, -1, 1]
    assert labels.notes == ["2 rows left out: kind has no level 2."]


def test_without_a_level_a_cell_is_as_it_is():
    labels = make_labels("kind", ["A > x", "A > y"], usable=np.ones(2, dtype=bool), min_rows=1)
    assert labels.classes == ["A > x", "A > y"]


def test_there_is_no_level_0():
    with pytest.raises(SettingError, match="--label-level: expected 1 for the first level, 2, …, or -1 for the last"):
        TrainSettings(label_level=0)
