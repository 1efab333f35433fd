"""Buckets of S3, Google and Azure, by obstore; its errors become a few of our own, which tell no secret."""

from __future__ import annotations

import errno
import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cache.cloud import stores
from cache.cloud.addresses import Address
from cache.cloud.object_facts import ObjectFacts, facts_in, quoted_tag
from cache.errors import CloudError

__all__ = ["Bucket", "ConflictError", "ObjectFacts", "open_bucket"]

MOST_FAILED = 40  # reads in a row, after which a readable object is tried, to see whether the bucket is the reason
PIECE_BYTES = 2**25  # of an object that is written in pieces, of which there may be 10,000

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_RETRIES = re.compile(r"after (\d+) retries")
_FROM_THE_MACHINE = re.compile(r"169\.254\.|metadata\.google|/latest/(api/token|meta-data)|/metadata/identity")
_CODE = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")


class _UnansweredError(CloudError):
    """The server did not answer; `is_final` says whether it was asked as often as `stores.RETRY` permits."""

    is_final = True


class ConflictError(CloudError):
    """The object is there already, or is another one than was expected."""


def _permitted_tries() -> Iterator[int]:
    """Yield 0, 1, … for each try that `stores.RETRY` permits, by their number and the time since the first failed."""
    yield 0
    ends = time.monotonic() + stores.RETRY["retry_timeout"].total_seconds()
    for n in range(1, stores.RETRY["max_retries"] + 1):
        if time.monotonic() > ends:
            return
        yield n


def _retried(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that retries where obstore does not, as where an answer was cut off in the middle.

    A conditional write that is retried may be refused because of what the first try wrote.
    """

    @functools.wraps(method)
    def retrying(*args: Any, **options: Any) -> Any:
        unanswered: Exception = AssertionError("there is a first try")
        for _ in _permitted_tries():
            try:
                return method(*args, **options)
            except _UnansweredError as error:
                if error.is_final:
                    raise
                unanswered = error
        raise unanswered

    return retrying


class Bucket:
    """One bucket; all keys are those of the whole bucket, and every method is free to be called by several threads.

    Every method raises:
        FileNotFoundError: there is no such object, though there is the bucket.
        CloudError: the bucket refuses, is not there, or does not answer, after all that `stores.RETRY` permits.
    """

    def __init__(self, store: Any, scheme: str, name: str) -> None:
        import obstore

        self._obstore = obstore
        self._store = store
        self.scheme = scheme
        self.name = name
        self.url = f"{scheme}://{name}"
        self._variables = stores.SCHEMES[scheme][1]
        self._n_failed = 0  # reads in a row
        self._readable_key = ""  # of the object that was read last

    def trust(self, key: str) -> None:
        """Note that an object was read."""
        self._n_failed, self._readable_key = 0, key

    def doubt(self, error: CloudError) -> None:
        """Note that an object was not read; raise the error where so many failed that the bucket must be the reason.

        Raises:
            CloudError: the object that was read last cannot be had any more either, or none ever was.
        """
        self._n_failed += 1
        if self._n_failed >= MOST_FAILED:
            try:
                if not self._readable_key:
                    raise error
                self.head(self._readable_key)
            except (CloudError, FileNotFoundError):
                raise error from None
            self._n_failed = 0

    @_retried
    def head(self, key: str) -> ObjectFacts:
        """Return the facts of an object, which is not read."""
        with self._asking(key):
            return facts_in(self._obstore.head(self._store, key))

    @_retried
    def get(self, key: str, *, most_bytes: int | None = None) -> tuple[ObjectFacts, bytes]:
        """Return an object, without its bytes where they are more than `most_bytes`."""
        with self._asking(key):
            answer = self._obstore.get(self._store, key)
            facts = facts_in(answer.meta)
            if most_bytes is not None and facts.n_bytes > most_bytes:
                return facts, b""
            content = bytes(answer.bytes())
        if len(content) != facts.n_bytes:
            raise self._silent(key, "the answer was cut off", is_final=False)
        return facts, content

    @_retried
    def get_range(self, key: str, start: int, end: int, *, etag: str) -> bytes:
        """Return bytes in the middle of an object.

        Raises:
            ConflictError: it is another object by now.
        """
        options: Any = {"range": (start, end), "if_match": etag}
        with self._asking(key):
            content = bytes(self._obstore.get(self._store, key, options=options).bytes())
        if len(content) != end - start:
            raise self._silent(key, "the answer was cut off", is_final=False)
        return content

    @_retried
    def put(self, key: str, content: Any, *, replaces: ObjectFacts | None = None) -> ObjectFacts:
        """Write an object in one request: where there is none, or in place of the one with the facts `replaces`.

        Raises:
            ConflictError: there is one, or another one.
        """
        mode: Any = "create"
        if replaces is not None:
            conditions = {"e_tag": replaces.etag, "version": replaces.version}
            mode = {name: value for name, value in conditions.items() if value}
        with self._asking(key):
            answer = self._obstore.put(self._store, key, content, mode=mode, use_multipart=False)
        return ObjectFacts(quoted_tag(answer["e_tag"]), memoryview(content).nbytes, answer["version"])

    def put_pieces(self, key: str, pieces: Iterable[bytes], *, check: Callable[[], object]) -> None:
        """Write an object of any size in place of any other; it is there whole at the end, or not at all.

        `check` is called when all pieces are sent, before they become the object, and may raise an error to prevent it.
        """
        with self._asking(key):
            writer = self._obstore.open_writer(self._store, key, buffer_size=PIECE_BYTES, max_concurrency=4)
            for piece in pieces:
                writer.write(piece)
            check()
            writer.close()

    @_retried
    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, if they are there; a key that obstore cannot ask for is a `CloudError`."""
        if not keys:
            return
        try:
            with self._asking(keys[0]):
                self._obstore.delete(self._store, list(keys))
            return
        except (FileNotFoundError, TypeError):  # Azure stops at a missing object, obstore at an impossible key
            impossible_keys = []
        for key in keys:
            try:
                with self._asking(key):
                    self._obstore.delete(self._store, key)
            except TypeError:  # what obstore raises for a key with two slashes in a row, or no Unicode
                impossible_keys.append(key)
            except FileNotFoundError:
                continue
        if impossible_keys:
            raise CloudError(f"{self._url(impossible_keys[0])} has a name that no request may have: remove it there.")

    def list(self, prefix: str) -> Iterator[tuple[str, ObjectFacts]]:
        """Yield all objects whose keys begin with `prefix` and a slash, in order."""
        last_key: str | None = None
        unanswered: Exception = AssertionError("there is a first try")
        tries = _permitted_tries()
        while next(tries, None) is not None:
            try:
                with self._asking(prefix):
                    for batch in self._obstore.list(self._store, prefix or None, offset=last_key):
                        for meta in batch:
                            last_key = meta["path"]
                            yield last_key, facts_in(meta)
                        tries = _permitted_tries()  # anew for the next page
                        next(tries)
                return
            except _UnansweredError as error:
                if error.is_final:
                    raise
                unanswered = error
        raise unanswered

    @contextmanager
    def _asking(self, key: str) -> Iterator[None]:
        """Turn obstore's errors in the block into ours; theirs quote the server, which may quote the key's name."""
        from obstore.exceptions import AlreadyExistsError, BaseError, InvalidPathError, PreconditionError

        try:
            yield
        except (AlreadyExistsError, PreconditionError) as error:
            raise ConflictError(f"Expected {self._url(key)} to be as it was, got another object.") from _bare(error)
        except FileNotFoundError as error:
            text = str(error)
            if "NoSuchBucket" in text or "ContainerNotFound" in text:
                raise self._no_bucket() from None
            raise FileNotFoundError(errno.ENOENT, "No such object", self._url(key)) from None
        except (InvalidPathError, ValueError):  # a key that obstore refuses: two slashes in a row, no Unicode
            raise FileNotFoundError(errno.ENOENT, "No such object", self._url(key)) from None
        except BaseError as error:
            raise self._named(key, str(error)) from _bare(error)

    def _named(self, key: str, text: str) -> CloudError:
        """Return our error for the text of one of obstore's."""
        status = match[1] if (match := _STATUS.search(text)) else ""
        code = match[1] or match[2] if (match := _CODE.search(text)) else ""
        reason = " ".join(filter(None, (status, code)))
        if code in ("NoSuchBucket", "ContainerNotFound"):
            return self._no_bucket()
        if code == "RequestTimeTooSkewed":
            return CloudError(f"{self.url} refuses access ({reason}). Set the clock of this machine.")
        if status in ("301", "307") or code in ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"):
            return CloudError(f"{self.url} is in another region ({reason}). Set AWS_REGION to that of the bucket.")
        if status in ("400", "401", "403") or code in ("AccessDenied", "ExpiredToken", "InvalidToken"):
            return CloudError(
                f"{self.url} refuses access to {key or 'its objects'} ({reason}). See that {self._variables} "
                "are not expired and are those of somebody who may read, list, write and delete there, as far as it is "
                "asked for."
            )
        if "BadScheme" in text:
            return CloudError(
                f"Expected {self.url} to be behind https, got an endpoint of plain http. Set "
                f"{self._variables.partition('_')[0]}_ALLOW_HTTP=true if it is meant."
            )
        if _FROM_THE_MACHINE.search(text):
            return CloudError(
                f"Expected credentials for {self.url}, got none. Set {self._variables}, or run where the machine "
                "has a role."
            )
        reason = reason or ("timed out" if "timed out" in text else "no connection")
        # Fewer retries than permitted where an answer was cut off: `_retried` goes on.
        n_retries = int(match[1]) if (match := _RETRIES.search(text)) else 0
        return self._silent(key, reason, is_final=n_retries >= stores.RETRY["max_retries"])

    def _silent(self, key: str, reason: str, *, is_final: bool) -> CloudError:
        error = _UnansweredError(
            f"{self._url(key)} could not be had: the server did not answer as it should ({reason}). Nothing is lost: "
            "see that it can be reached, then type the same line again."
        )
        error.is_final = is_final
        return error

    def _no_bucket(self) -> CloudError:
        return CloudError(
            f"Expected a bucket at {self.url}, got none of this name. Correct the URL, or make the bucket."
        )

    def _url(self, key: str) -> str:
        return f"{self.url}/{key}"


def open_bucket(address: Address) -> Bucket:
    """Return the bucket of an address, for which credentials are found as obstore does: by the environment.

    Raises:
        CloudError: obstore is not installed, or a variable is wrong.
    """
    return _open_bucket(address.scheme, address.bucket, stores.environment())


@functools.lru_cache(maxsize=64)
def _open_bucket(scheme: str, name: str, _environment: frozenset[tuple[str, str]]) -> Bucket:
    """Return a bucket, the same one while the environment, from which stores read credentials, is the same."""
    return Bucket(stores.make_store(scheme, name), scheme, name)


def _bare(error: Exception) -> Exception:
    """Return an error of the same kind without its text, which may quote a request; a traceback shows it."""
    return type(error)("(what the server said is not shown)")
