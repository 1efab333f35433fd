"""The cache: vectors by content, and the catalogue, in one HDF5 file. It never imports torch."""

from cache.errors import (
    CacheError,
    CacheLockedError,
    DamagedCacheError,
    EmbedOnceError,
    MissingEntryError,
    NotACacheError,
    SpecConflictError,
    UnknownVersionError,
    UnreadableError,
    UnsafeFileError,
)
from cache.exchange.exporting import export_vectors
from cache.exchange.import_settings import ImportSettings
from cache.exchange.importing import import_vectors
from cache.inventory.inventory import Inventory
from cache.inventory.means import publish_means
from cache.inventory.planning import plan
from cache.inventory.sealing import seal
from cache.inventory.vectors_by_key import VectorsByKey
from cache.inventory.verification import verify
from cache.journal.journal import Journal
from cache.journal.part import Part
from cache.keys import ContentSpec, EncoderSpec, content_key, mean_key
from cache.rebuilding.merging import merge
from cache.rebuilding.unused import drop_unused, find_unused
from cache.sealed.cache import Cache
from cache.sealed.products import Contents, Products
from cache.tokens import Tokens

__all__ = [
    "Cache",
    "CacheError",
    "CacheLockedError",
    "ContentSpec",
    "Contents",
    "DamagedCacheError",
    "EmbedOnceError",
    "EncoderSpec",
    "ImportSettings",
    "Inventory",
    "Journal",
    "MissingEntryError",
    "NotACacheError",
    "Part",
    "Products",
    "SpecConflictError",
    "Tokens",
    "UnknownVersionError",
    "UnreadableError",
    "UnsafeFileError",
    "VectorsByKey",
    "content_key",
    "drop_unused",
    "export_vectors",
    "find_unused",
    "import_vectors",
    "mean_key",
    "merge",
    "plan",
    "publish_means",
    "seal",
    "verify",
]
