"""Labels that are paths or lists, of which one level is learned."""

import numpy as np
import pytest

from cache.columns.label_levels import label_at, label_levels
from heads.data.labels import make_labels, read_labels
from heads.errors import LabelError, SettingError
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
        ("Home -> Kitchen -> Mugs", ["Home", "Kitchen", "Mugs"]),
        ("Home => Mugs", ["Home", "Mugs"]),
        ("Home \u2192 Mugs", ["Home", "Mugs"]),
        ("Home::Mugs", ["Home", "Mugs"]),
        ("Men/Tops/T-shirts", ["Men", "Tops", "T-shirts"]),
        ("Men / Tops / T-shirts", ["Men", "Tops", "T-shirts"]),
        ("12/31/2020", ["12/31/2020"]),
        ("https://shop/a/b", ["https://shop/a/b"]),
        ("Kitchen > Mugs, Kitchen > Sale", ["Kitchen", "Mugs"]),
        ("Kitchen, Kitchen > Mugs", ["Kitchen", "Mugs"]),
        ("Shop/Kitchen,Shop/Kitchen/Mugs", ["Shop", "Kitchen", "Mugs"]),
        ("Home > Kitchen, Bath & Bar > Mugs", ["Home", "Kitchen, Bath & Bar", "Mugs"]),
        ("A &gt; B; A &gt; C", ["A", "B"]),
        ('["Home > Kitchen > Mugs", "Sale"]', ["Home", "Kitchen", "Mugs"]),
        ('["Home > Mugs", "Gifts > Sale", "Home > Mugs > Blue"]', ["Home", "Mugs", "Blue"]),
        ('["TV/Audio/Video", "Kitchen | Bar"]', ["TV/Audio/Video", "Kitchen | Bar"]),
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
    assert labels.notes == [
        "2 rows left out: kind has no level 2.",
        "2 classes stand below several names (x below A, B), and each is one class: --label-level 2 looks at no other "
        "level.",
    ]


def test_several_paths_in_a_cell_are_told_by_the_first_names_of_the_column():
    cells = ["Kitchen > Mugs, Sale", "Sale > Summer", "Kitchen, Sale", "Kitchen > Pots, Pans", "Sale, Kitchen > Mugs"]
    assert read_labels(cells, 2).tolist() == ["Mugs", "Summer", "", "Pots, Pans", ""]
    assert read_labels(cells, 1).tolist() == ["Kitchen", "Sale", "Kitchen", "Kitchen", "Sale"]


def test_a_name_with_slashes_is_one_where_paths_of_the_column_have_other_marks():
    cells = ["TV/Audio/Video", "/Shop/Home", '["PC/Mac/Phone"]', *["Home > Mugs"] * 3, "Home > Cups", "Home > Pots"]
    assert read_labels(cells, 1).tolist() == ["TV/Audio/Video", "Shop", "PC/Mac/Phone", *["Home"] * 5]
    cells = ["Men/Tops/Shirts", '["Men/Tops/Tees"]', "Women/Tops/Tees", "Home > Mugs"]
    assert read_labels(cells, 2).tolist() == ["Tops", "Tops", "Tops", "Mugs"]


def test_the_semicolon_of_an_escaped_sign_ends_no_path():
    cells = ["Home &amp; Garden > Pots", "Garden > Hoses; Home &amp; Garden > Pots", "R&B; Garden > Hoses"]
    assert read_labels(cells, 1).tolist() == ["Home &amp; Garden", "Garden", "R&B"]


def test_a_column_without_paths_is_told_where_a_level_is_asked_for():
    cells = ["Home - Mugs", "Home - Lamps"]
    labels = make_labels("kind", cells, usable=np.ones(2, dtype=bool), min_rows=1, level=-1)
    assert labels.notes[0].startswith("No label of kind is a path or a list (Home - Mugs)")
    with pytest.raises(LabelError, match="paths or lists with a level 2, got none. A path is written a > b"):
        make_labels("kind", cells, usable=np.ones(2, dtype=bool), min_rows=1, level=2)


def test_lists_of_one_name_are_lists_of_which_a_level_is_chosen():
    labels = make_labels("kind", ['["Mugs"]', '["Lamps"]'], usable=np.ones(2, dtype=bool), min_rows=1, level=1)
    assert (labels.classes, labels.notes) == (["Lamps", "Mugs"], [])


def test_without_a_level_a_cell_is_as_it_is():
    labels = make_labels("kind", ["A > x", "A > y"], usable=np.ones(2, dtype=bool), min_rows=1)
    assert labels.classes == ["A > x", "A > y"]


def test_there_is_no_level_0():
    with pytest.raises(SettingError, match="--label-level: expected 1 for the first level, 2, …, or -1 for the last"):
        TrainSettings(label_level=0)
