"""Which encoders a training has to be told, where a cache has several of a modality."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from cache import EncoderSpec
from embed.encoders.pictures.views import VIEW

__all__ = ["choose_of_several"]


def choose_of_several(
    specs: Mapping[tuple[str, str], EncoderSpec], modalities: Collection[str], latest: Sequence[str]
) -> dict[str, str]:
    """Return an encoder of each modality that has several, {modality: name}: what nobody chooses no training can take.

    It is the first of the `latest`, <modality>/<encoder>, that is no view of pictures, else the first by name. `specs`
    are the cache's: (modality, encoder's name) -> spec. Views are no choice beside an encoder that sees pictures as
    they are.

    >>> specs = {("text", name): EncoderSpec("text", {"weights": name}) for name in ("bert", "minilm")}
    >>> choose_of_several(specs, ["text"], ["text/minilm"]), choose_of_several(specs, ["image"], [])
    ({'text': 'minilm'}, {})
    """
    chosen = {}
    for modality in sorted(modalities):
        names = sorted(name for of_modality, name in specs if of_modality == modality)
        plain_names = [name for name in names if VIEW not in specs[modality, name].fields]
        if len(plain_names) == 1 or len(names) < 2:
            continue
        names = plain_names or names
        names_now = [name.removeprefix(f"{modality}/") for name in latest if name.startswith(f"{modality}/")]
        chosen[modality] = next((name for name in names_now if name in names), names[0])
    return chosen
