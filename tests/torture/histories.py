"""Histories of one cache, drawn by Hypothesis, against a dictionary of what was acknowledged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from extracted import EXTRACT, acknowledged_keys, keys_on_disk
from failing_writes import ERRNOS
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from support import image_bytes, vector_of, write_catalogue

from cache import Cache, content_key, verify
from embed.contents.images import decode
from torture.campaign import AGAIN, LOST, UNNAMED, WRONG, Campaign, Tools, Trial, require
from torture.extraction import check_exit

BROKEN = 3  # the number of the picture that is none
PICTURES = [image_bytes((40 * n, 7, 9)) if n != BROKEN else b"<html>" for n in range(6)]
WORDS = [f"a text of {n} and more" for n in range(6)]
ENCODERS = ("first", "second")


class History(RuleBasedStateMachine):
    """A catalogue that changes, and extractions of it of which some are killed, starved or stopped."""

    tools: ClassVar[Tools]
    trial: ClassVar[Trial]

    @initialize()
    def begin(self) -> None:
        self.trial.counts["histories"] += 1
        self.folder = self.trial.folder / "history"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.products: dict[int, tuple[int, int]] = {}  # id -> picture, text
        self.n_products = 0
        self.encoder = ENCODERS[0]
        self.kept: dict[str, set[str]] = {name: set() for name in ENCODERS}  # keys that were acknowledged
        self.n_begun = self.n_held = 0  # runs, and those after which all held
        for n in range(3):
            self.append(n, n)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            if self.n_begun == self.n_held:
                self.run()  # however it came here, it goes on
            shutil.rmtree(self.folder, ignore_errors=True)

    @rule(picture=st.integers(0, 5), word=st.integers(0, 5))
    def append(self, picture: int, word: int) -> None:
        self.products[self.n_products] = (picture, word)
        self.n_products += 1

    @precondition(lambda self: len(self.products) > 1)
    @rule(data=st.data())
    def remove(self, data: Any) -> None:
        del self.products[data.draw(st.sampled_from(sorted(self.products)))]

    @rule(data=st.data(), picture=st.integers(0, 5))
    def edit_a_picture(self, data: Any, picture: int) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.products)))
        self.products[chosen] = (picture, self.products[chosen][1])

    @rule()
    def change_the_encoder(self) -> None:
        self.encoder = ENCODERS[ENCODERS.index(self.encoder) - 1]

    @rule()
    def extract(self) -> None:
        self.run()

    @rule()
    def retry_what_failed(self) -> None:
        self.run("--retry-failed")

    @rule(at=st.integers(1, 160))
    def kill(self, at: int) -> None:
        self.run(writes={"at": at})

    @rule(at=st.integers(1, 160), number=st.sampled_from(ERRNOS), is_lasting=st.booleans())
    def fail(self, at: int, number: int, is_lasting: bool) -> None:
        self.run(writes={"at": at, "do": "fail", "errno": number, "is_lasting": is_lasting})

    @rule()
    def stop_before_the_seal(self) -> None:
        self.run(is_stopped=True)

    def run(self, *arguments: str, **order: Any) -> None:
        """Extract, and compare with the model."""
        self.n_begun += 1
        self.write_catalogue()
        code, stderr, log = self.tools.commands().run(
            self.folder, command="embed-extract", arguments=[*EXTRACT, "--max-bad", "100%", *arguments],
            encoder=self.encoder, merged_parts=2, **order,
        )  # fmt: skip
        self.trial.counts["runs"] += 1
        where = f"{arguments} {order}"
        check_exit(code, stderr, where)
        require(code == 0 or order, UNNAMED, f"{where}: {stderr}")
        new = acknowledged_keys(log)
        require(not new & self.kept[self.encoder], AGAIN, where)
        self.kept[self.encoder] |= new
        require(set().union(*self.kept.values()) <= keys_on_disk(self.folder), LOST, where)
        if (self.folder / "e.h5").exists():
            require(not verify(self.folder / "e.h5"), WRONG, where)
        if code == 0 and not order:
            self.compare(where)
        self.n_held += 1

    def write_catalogue(self) -> None:
        rows = [
            {"id": f"{n}", "image": f"images/{n}.png", "text": WORDS[word], "label": "x"}
            for n, (_, word) in self.products.items()
        ]
        write_catalogue(self.folder, rows)
        (self.folder / "images").mkdir(exist_ok=True)
        for n, (picture, _) in self.products.items():
            path = self.folder / "images" / f"{n}.png"
            if not path.exists() or path.read_bytes() != PICTURES[picture]:
                path.write_bytes(PICTURES[picture])

    def compare(self, where: str) -> None:
        """Compare the sealed cache with what the products' contents make."""
        with Cache(self.folder / "e.h5") as cache:
            require(cache.ids() == [str(n) for n in self.products], WRONG, f"{where}: other products")
            is_broken = [picture == BROKEN for picture, _ in self.products.values()]
            require(
                [status != "ok" for status in cache.statuses("image")] == is_broken, WRONG, f"{where}: other statuses"
            )
            for name in cache.encoders("image"):
                present, vectors = cache.present("image", name), cache.matrix("image", name)
                require(name != self.encoder or (present == ~np.array(is_broken)).all(), LOST, f"{where}: vectors")
                for row, (picture, _) in enumerate(self.products.values()):
                    require(
                        not present[row] or (vectors[row] == IMAGE_VECTORS[picture]).all(), WRONG, f"{where}: image"
                    )
            texts = [vector_of(WORDS[word].encode(), 4) for _, word in self.products.values()]
            require((cache.matrix("text") == np.stack(texts)).all(), WRONG, f"{where}: text vectors")
            for name in cache.encoders("image"):
                keys = set(cache.keys("image")[cache.encoded("image", name)].astype(str).tolist())
                expected_keys = {
                    content_key(PICTURES[picture]) for picture, _ in self.products.values() if picture != BROKEN
                }
                require(name != self.encoder or expected_keys <= keys, LOST, f"{where}: keys of {name}")


IMAGE_VECTORS = [
    vector_of(decode(content).tobytes(), 4) if n != BROKEN else np.zeros(4) for n, content in enumerate(PICTURES)
]


def prepare(tools: Tools) -> Callable[[Trial], None]:
    def live(trial: Trial) -> None:
        kind = seed(trial.random.randrange(2**32))(
            type("Drawn", (History,), {"tools": tools, "trial": trial})  # Hypothesis makes the machines
        )
        run_state_machine_as_test(
            kind,
            settings=settings(
                max_examples=2 if trial.is_small else 10,
                stateful_step_count=4 if trial.is_small else 20,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )

    return live


CAMPAIGN = Campaign(
    "histories", "appended, failed, killed, resumed, edited: drawn, against a dictionary", prepare, n_unit=1
)
