"""The rows that a head answers together: a block has one size, whatever other rows are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from heads.data.tokens import ProductTokens, rows_within

__all__ = ["BLOCK_ROWS", "TOKEN_STEP", "RowBlock", "row_blocks"]

BLOCK_ROWS = 1024  # rows are answered in blocks of one size, so that an answer does not depend on their number
TOKEN_BLOCK_ROWS = 256  # of rows with tokens, which are larger; fewer where the tokens are many
TOKEN_STEP = 32  # tokens are padded to a multiple of it that follows from the row's own number of tokens

RowBlock: TypeAlias = tuple[Tensor, int, dict[str, int]]  # rows, how many it lacks, each modality's token positions


def row_blocks(n_rows: int, tokens: Mapping[str, ProductTokens], *, block_rows: int) -> Iterator[RowBlock]:
    """Yield the rows that are answered together, how many the block lacks, and each modality's token positions.

    Both the size of a row's block and the positions follow from the row's own tokens, and not from the other rows.
    """
    if not tokens:
        yield from ((rows, block_rows - len(rows), {}) for rows in torch.arange(n_rows).split(block_rows) if n_rows)
        return
    counts = torch.stack([states.counts for states in tokens.values()], dim=1).clamp_min(1)  # (N, M)
    lengths = (counts + TOKEN_STEP - 1) // TOKEN_STEP * TOKEN_STEP
    for length in lengths.unique(dim=0) if n_rows else []:
        same_length = torch.nonzero((lengths == length).all(1))[:, 0]
        n_together = rows_within(int(length.sum()), most_rows=min(TOKEN_BLOCK_ROWS, block_rows))
        for rows in same_length.split(n_together):
            yield rows, n_together - len(rows), dict(zip(tokens, length.tolist(), strict=True))
