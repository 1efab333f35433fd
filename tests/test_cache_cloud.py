"""Caches in a bucket, against a real S3 server: parts, sealing, copies, and what goes wrong on the way."""

import datetime
import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import fork_server
import numpy as np
import obstore
import pytest
from bucket_server import BUCKET, OPEN_BUCKET, READER
from support import ROOT, CountingEncoder, class_vectors, invoke, small_catalogue, synthetic_cache

import cache.cloud.sealed_objects
from cache import Cache, Contents, EncoderSpec, Journal, Part, Products, content_key, seal, verify
from cache.cloud.addresses import Address, StoragePath, address_of, is_address
from cache.cloud.buckets import Bucket
from cache.cloud.local_copies import LocalCopy, local_copy
from cache.commands.info import info
from cache.errors import CacheLockedError, CloudError
from cache.journal.mirrored_journal import open_journal
from cache.rebuilding.merging import merge
from cache.rebuilding.unused import drop_unused, find_unused
from embed import ExtractSettings, extract, extract_shard
from embed.commands.extract import extract as extract_command

pytestmark = pytest.mark.slow

SPEC = EncoderSpec("text", {"weights": "given"})


@pytest.fixture
def url(proxy, bucket_url, tmp_path):
    return f"{bucket_url}/{tmp_path.name}/e.h5"


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """What calls a function as on another machine: with another mirror."""

    def call(function, *args, **options):
        with monkeypatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
            return function(*args, **options)

    return call


def keys_of(texts):
    return [content_key(text.encode()) for text in texts]


def publish(journal, texts):
    vectors = np.array([[len(text), ord(text[0])] for text in texts], dtype=np.float32)
    return journal.publish(Part("given", SPEC, keys_of(texts), vectors, {}))


def products(texts):
    return Products(list(texts), {}, {"text": Contents(keys_of(texts), ["ok"] * len(texts), None)})


def sealed(path, texts):
    with open_journal(path) as journal:
        publish(journal, texts)
        seal(journal.cache_path, journal, products(texts))


def publish_alone(path, texts):
    with open_journal(path) as journal:
        publish(journal, texts)


def objects(url):
    """The keys beside a cache in a bucket, without what all have in common."""
    address = address_of(url)
    folder = address.key.rpartition("/")[0]
    return [key.removeprefix(f"{folder}/") for key, _ in LocalCopy(address).bucket.list(folder)]


def vectors_of(path):
    with Cache(path) as cache:
        vectors = cache.vectors("text", "given")[cache.rows("text")]
        return dict(zip(cache.ids(), vectors.tolist(), strict=True))


def test_a_path_of_an_object_shows_its_url_whatever_pathlib_does():
    path = StoragePath("s3://bucket/a/e.h5")
    assert [str(path), str(path.parent), str(path.with_name("f"))] == [
        "s3://bucket/a/e.h5", "s3://bucket/a", "s3://bucket/a/f",
    ]  # fmt: skip
    assert address_of(Path(path)) == address_of(str(path)) == Address("s3", "bucket", "a/e.h5")
    assert str(StoragePath("a/s3/e.h5")) == "a/s3/e.h5"
    assert not any(map(is_address, ["s3", "a/s3://b", "https://b/c", "gs/b", "/s3:/b", "s3:"]))


@pytest.mark.parametrize(
    "url",
    ["s3://me:word@bucket/e.h5", "s3://word@bucket/e.h5", "s3://bucket/e.h5?X-Amz-Signature=word", "az://b/e?sig=word"],
)
def test_credentials_in_a_url_are_refused_and_not_shown(url):
    with pytest.raises(CloudError, match="without credentials") as refused:
        Cache(url)
    assert "word@" not in str(refused.value)
    assert "=word" not in str(refused.value)


def test_a_cache_in_a_bucket_is_the_local_one(url, tmp_path):
    sealed(tmp_path / "e.h5", ["a", "bc"])
    sealed(url, ["a", "bc"])
    with Cache(tmp_path / "e.h5") as local, Cache(url) as remote:
        assert local.content_sha256 == remote.content_sha256
    assert verify(url) == []
    assert objects(url) == ["e.h5"]  # the parts are in it, and the probe is gone


def test_a_part_is_there_when_it_is_acknowledged(url, elsewhere):
    with open_journal(url) as journal:
        name = publish(journal, ["a"]).name
        assert objects(url) == [f"e.h5.journal/{name}"]
    (message,) = invoke(info, url).stderr.splitlines()
    assert f"of {url} there is none yet: 1 part waits in its journal." in message

    def go_on():
        with open_journal(url) as journal:
            assert [part.keys for _, part in journal.parts()] == [keys_of(["a"])]
            seal(journal.cache_path, journal, products(["a"]))

    elsewhere(go_on)
    assert vectors_of(url) == {"a": [1, 97]}


def test_parts_that_were_merged_are_merged_in_the_bucket(url, monkeypatch):
    monkeypatch.setattr("cache.journal.journal.MERGED_PARTS", 2)
    with open_journal(url) as journal:
        for text in "abcd":
            publish(journal, [text])
            journal.merge("text", "given")
        assert len(objects(url)) == len(journal.paths()) == 1
    with open_journal(url) as journal:
        seal(journal.cache_path, journal, products("abcd"))
        publish(journal, ["e"])
    assert json.loads(invoke(info, url, "--json").stdout)["n_unsealed_parts"] == 1
    assert "1 part waits in the journal: an extraction" in " ".join(invoke(info, url).stdout.split())


def test_two_sealers_lose_nothing(url, elsewhere):
    sealed(url, ["a"])
    with open_journal(url) as journal:
        publish(journal, ["a", "b"])
        elsewhere(sealed, url, ["a", "c"])
        assert seal(journal.cache_path, journal, products(["a", "b"]))
    assert vectors_of(url) == {"a": [1, 97], "b": [1, 98]}  # the later one's products
    with Cache(url) as cache:
        assert sorted(cache.keys("text").astype(str)) == sorted(keys_of("abc"))
        assert cache.encoded("text", "given").all()
    assert objects(url) == ["e.h5"]


def test_two_sealers_of_large_caches_lose_nothing(url, elsewhere, monkeypatch):
    monkeypatch.setattr(cache.cloud.sealed_objects, "LARGEST_PUT", 100)
    test_two_sealers_lose_nothing(url, elsewhere)


def test_a_large_cache_that_another_was_about_to_seal_is_named(url, bucket_url, monkeypatch):
    monkeypatch.setattr(cache.cloud.sealed_objects, "LARGEST_PUT", 100)
    bucket = LocalCopy(address_of(url)).bucket
    with open_journal(url) as journal:
        publish(journal, ["a"])
        claim = f"{address_of(url).key}.journal/claim-e3b0c44298fc1c149afbf4c8996fb924"
        bucket.put(claim, b"/home/x on y")
        with pytest.raises(CloudError, match=rf"^/home/x on y is sealing {url}.*remove {bucket_url}/{claim}"):
            seal(journal.cache_path, journal, products(["a"]))
    bucket.delete([claim])
    sealed(url, ["a"])
    assert objects(url) == ["e.h5"]


def test_an_answer_that_was_lost_is_no_other_sealer(url, proxy):
    sealed(url, ["a"])
    lost = iter([True])
    proxy.fault = lambda method, path: (
        "unanswered" if method == "PUT" and path.endswith("/e.h5") and next(lost, False) else None
    )
    sealed(url, ["a", "b"])
    assert next(lost, None) is None
    assert vectors_of(url) == {"a": [1, 97], "b": [1, 98]}


def test_a_seal_that_could_not_be_put_loses_nothing(url, proxy, elsewhere):
    with open_journal(url) as journal:
        publish(journal, ["a"])
        proxy.fault = lambda method, path: "503" if method == "PUT" and path.endswith("/e.h5") else None
        with pytest.raises(CloudError, match="could not be had"):
            seal(journal.cache_path, journal, products(["a"]))
    assert journal.paths() == []  # it is sealed here, and nowhere else
    proxy.fault = lambda *_: None
    elsewhere(sealed, url, ["b"])
    with Cache(url) as cache:
        assert sorted(cache.keys("text").astype(str)) == sorted(keys_of("ab"))
        assert cache.encoded("text", "given").all()
    sealed(url, ["a", "c"])
    assert vectors_of(url) == {"a": [1, 97], "c": [1, 99]}
    assert objects(url) == ["e.h5"]


def test_a_store_without_conditional_writes_is_named_before_any_work(proxy, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")  # which covers the headers of conditions
    url = f"s3://{OPEN_BUCKET}/{tmp_path.name}/e.h5"
    with open_journal(url):
        pass
    proxy.fault = lambda *_: "unconditional"
    with pytest.raises(CloudError, match="refuse to write an object that is there already"), open_journal(url):
        pass
    proxy.fault = lambda *_: None
    assert objects(url) == []


def test_a_bucket_that_is_read_only_is_named_before_any_work(url, monkeypatch, tmp_path):
    sealed(url, ["a"])
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), READER, strict=True):
        monkeypatch.setenv(name, value)
    encoder = CountingEncoder("text")
    with pytest.raises(CloudError, match="Expected a bucket that can be written.*403 AccessDenied") as refused:
        extract(small_catalogue(tmp_path / "shop"), url, encoders=[encoder])
    assert encoder.n_encoded == 0
    assert READER[1] not in str(refused.value)
    assert vectors_of(url) == {"a": [1, 97]}  # which may be read


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_SECRET_ACCESS_KEY", "a-wrong-word", "refuses access.*SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY"),
        ("AWS_ACCESS_KEY_ID", "a-wrong-word", "refuses access.*InvalidAccessKeyId.*AWS_ACCESS_KEY_ID"),
        ("AWS_ALLOW_HTTP", "false", "AWS_ALLOW_HTTP=true"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "did not answer as it should"),
    ],
)
def test_what_is_wrong_with_the_access_is_named_and_no_secret_shown(url, monkeypatch, name, value, message, tmp_path):
    monkeypatch.setenv(name, value)
    result = invoke(extract_command, small_catalogue(tmp_path / "shop"), "-o", url, "--modalities", "text")
    assert result.exit_code == 1
    assert re.search(message, result.stderr)
    assert "a-wrong-word" not in result.output
    assert "secret-of" not in result.output
    assert "Traceback" not in result.output


def test_profiles_are_read_where_the_environment_has_no_credentials(url, monkeypatch):
    pytest.importorskip("boto3")
    sealed(url, ["a"])
    folder = Path.home() / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(
        "[default]\naws_access_key_id = nobody\naws_secret_access_key = x\n"
        f"[shop]\naws_access_key_id = {READER[0]}\naws_secret_access_key = {READER[1]}\n"
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CloudError, match="refuses access"):
        Cache(url)
    monkeypatch.setenv("AWS_PROFILE", "shop")
    assert vectors_of(url) == {"a": [1, 97]}
    monkeypatch.setenv("AWS_PROFILE", "none")
    with pytest.raises(CloudError, match="expected a profile of ~/.aws, got 'none'"):
        Cache(url)


def test_a_bucket_that_is_not_there_is_named(proxy, bucket_url):
    url = bucket_url.replace(BUCKET, "no-such-bucket")
    with pytest.raises(CloudError, match=f"Expected a bucket at {url}"):
        Cache(f"{url}/e.h5")


@pytest.mark.parametrize("faults", ["500", "503", "unsent", "unanswered", "half", "unsent half"])
def test_requests_that_fail_now_and_then_change_nothing(url, proxy, faults, elsewhere):
    """Every request fails the first time, of reading and of writing; or the first two times, in two ways."""
    sealed(url, ["a"])
    proxy.requests.clear()
    proxy.fault = lambda *request: (*faults.split(), None, None)[min(proxy.requests.count(request), 3) - 1]
    with open_journal(url) as journal:
        publish(journal, ["b"])
    elsewhere(sealed, url, ["a", "b", "c"])
    assert vectors_of(url) == {"a": [1, 97], "b": [1, 98], "c": [1, 99]}
    proxy.fault = lambda *_: None
    assert objects(url) == ["e.h5"]
    assert verify(url) == []


@pytest.mark.parametrize("fault", ["503", "unanswered"])
def test_a_part_that_could_not_be_put_is_kept_and_put_by_the_next_run(url, proxy, fault):
    with open_journal(url) as journal:
        proxy.fault = lambda method, _: fault if method == "PUT" else None
        with pytest.raises(CloudError, match="could not be had|could not be written"):
            publish(journal, ["a"])
        proxy.fault = lambda *_: None
    with open_journal(url) as journal:
        assert [part.keys for _, part in journal.parts()] == [keys_of(["a"])]
        assert len(objects(url)) == 1


def test_a_part_that_another_is_just_putting_is_put_when_that_one_failed(url, proxy, monkeypatch):
    monkeypatch.setattr("cache.journal.mirrored_journal.WAIT_S", 0.01)
    conflicts = iter(["409"] * 3)
    with open_journal(url) as journal:
        proxy.fault = lambda method, _: next(conflicts, None) if method == "PUT" else None
        publish(journal, ["a"])
        assert len(objects(url)) == 1
    assert next(conflicts, None) is None


def test_a_server_that_stalls_is_named(url, proxy, monkeypatch):
    sealed(url, ["a"])
    monkeypatch.setattr("cache.cloud.stores.CLIENT", {"read_timeout": "100ms"})
    monkeypatch.setenv("AWS_SESSION", "another")  # so that the bucket is opened anew
    proxy.fault = lambda method, _: "stalled" if method == "GET" else None
    copy = LocalCopy(address_of(url))
    copy.path.unlink()
    with pytest.raises(CloudError, match="did not answer as it should"):
        copy.fetch()


def test_a_copy_is_fetched_once_for_each_version(url, proxy, elsewhere):
    elsewhere(sealed, url, ["a"])
    proxy.requests.clear()
    assert [vectors_of(url) for _ in range(3)] == [{"a": [1, 97]}] * 3
    assert [method for method, path in proxy.requests if method == "GET" and path.endswith("e.h5")] == ["GET"]
    elsewhere(sealed, url, ["a", "b"])
    assert len(vectors_of(url)) == 2


def test_a_copy_is_fetched_in_pieces_of_one_version(url, proxy, monkeypatch, elsewhere):
    monkeypatch.setattr("cache.cloud.local_copies.PIECE_BYTES", 10_000)
    elsewhere(sealed, url, ["a"])
    replaced = iter([True])

    def replace_meanwhile(method, path):
        if method == "GET" and path.endswith("e.h5") and next(replaced, False):
            proxy.fault = lambda *_: None
            elsewhere(sealed, url, ["a", "b"])

    proxy.fault = replace_meanwhile
    assert len(vectors_of(url)) == 2
    assert next(replaced, None) is None


@pytest.mark.parametrize("fault", ["half", "500"])
def test_a_copy_that_was_not_fetched_whole_is_none(url, proxy, monkeypatch, fault, elsewhere):
    elsewhere(sealed, url, ["a"])
    monkeypatch.setattr("cache.cloud.local_copies.PIECE_BYTES", 10_000)
    proxy.fault = lambda method, _: fault if method == "GET" else None
    with pytest.raises(CloudError, match="did not answer as it should"):
        Cache(url)
    copy = LocalCopy(address_of(url))
    assert not copy.path.exists()
    assert [path.name for path in copy.folder.iterdir() if path.suffix == ".tmp"] == []
    proxy.fault = lambda *_: None
    assert vectors_of(url) == {"a": [1, 97]}


def test_a_copy_that_was_put_in_place_and_not_noted_is_fetched_again(url):
    sealed(url, ["a"])
    copy = local_copy(url)
    copy.unlink()
    copy.write_bytes(b"another file, as of a fetch that was killed between its two renames")
    (copy.parent / "1-e.h5.tmp").write_bytes(b"and the rest of one that was killed before")
    assert vectors_of(url) == {"a": [1, 97]}
    assert not (copy.parent / "1-e.h5.tmp").exists()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("403 Forbidden: <Code>RequestTimeTooSkewed</Code>", "Set the clock of this machine"),
        ("301 Moved Permanently: ", "is in another region (301). Set AWS_REGION"),
        ("400 Bad Request: <Code>ExpiredToken</Code>", "refuses access to e.h5 (400 ExpiredToken)"),
    ],
)
def test_what_a_server_says_of_access_is_told_with_what_to_do(answer, message):
    error = Bucket(None, "s3", "shop")._named("e.h5", f"Server returned non-2xx status code: {answer}")
    assert message in str(error)


@pytest.mark.parametrize("odd", ["a//b", "caf\udce9"])
def test_a_key_that_no_request_may_have_is_no_object_to_read_and_an_error_to_remove(odd):
    store = obstore.store.MemoryStore()
    obstore.put(store, "there", b"1")
    bucket = Bucket(store, "s3", "shop")
    with pytest.raises(FileNotFoundError):
        bucket.get(odd)
    bucket.delete(["none"])
    with pytest.raises(CloudError, match="has a name that no request may have"):
        bucket.delete(["there", odd])
    assert list(bucket.list("")) == []


def test_a_damaged_part_in_the_bucket_is_left_out(url, elsewhere, caplog):
    with open_journal(url) as journal:
        path = publish(journal, ["a"])
    bucket, key = LocalCopy(address_of(url)).bucket, f"{address_of(url).key}.journal/{path.name}"
    bucket.delete([key])
    bucket.put(key, b"something else")

    def parts():
        with open_journal(url) as journal:
            return journal.paths()

    assert elsewhere(parts) == []
    assert "is damaged and left out: what was in it is encoded again" in caplog.text


def test_a_file_that_has_its_second_name_already_gets_no_third(url):
    """A rename to another name of the same file does nothing: what is written under the third would be lost."""
    sealed(url, ["a"])
    for _ in range(2):
        with open_journal(url) as journal:
            assert os.path.samefile(journal.cache_path, local_copy(url))
    assert [path.name for path in local_copy(url).parent.iterdir() if path.suffix == ".tmp"] == []


def test_one_writer_of_a_machine_at_a_time(url):
    with open_journal(url), pytest.raises(CacheLockedError), open_journal(url):
        pass


def test_caches_in_a_bucket_are_merged_and_rid_of_what_is_unused(url, tmp_path, monkeypatch):
    sealed(tmp_path / "here.h5", ["a"])
    sealed(url, ["b"])
    report = merge([tmp_path / "here.h5"], url)
    assert (str(report.cache_path), report.n_products) == (url, 2)
    assert sorted(vectors_of(url)) == ["a", "b"]
    with open_journal(url) as journal:
        publish(journal, ["unused"])
        seal(journal.cache_path, journal, None)
    assert find_unused(url, keep_days=30).n == 0
    later = SimpleNamespace(today=lambda: datetime.date.today() + datetime.timedelta(30))
    monkeypatch.setattr("cache.rebuilding.unused.datetime", SimpleNamespace(date=later))
    assert drop_unused(url, keep_days=30).counts == {"text": 1}  # by the days that the other noted
    with Cache(url) as cache:
        assert sorted(cache.keys("text").astype(str)) == sorted(keys_of("ab"))
    assert merge([url], tmp_path / "copy.h5").n_products == 2


def test_heads_are_trained_from_a_cache_in_a_bucket_and_find_it_again(url, tmp_path):
    from heads.runs.run_files import find_cache, read_config
    from heads.settings import TrainSettings
    from heads.workflows.train import train

    targets = np.arange(60) % 2
    path = synthetic_cache(
        tmp_path / "e.h5", {"text": class_vectors(targets, 4)}, {"label": [f"class {n}" for n in targets]}
    )
    with open_journal(url) as journal:
        journal.cache_path.write_bytes(path.read_bytes())
        assert journal.deliver()
    settings = TrainSettings(max_epochs=1, n_resamples=100, hidden_dim=4, controls=())
    run = train(StoragePath(url), settings=settings, runs_path=tmp_path / "runs").run_path
    config = read_config(run)
    assert config.cache == url
    assert find_cache(run, config).read_bytes() == path.read_bytes()
    LocalCopy(address_of(url)).bucket.delete([address_of(url).key])
    assert not find_cache(run, config).exists()


KILLED = """
import os, signal, sys
sys.path[:0] = [{root!r}, {tests!r}]
from support import CountingEncoder
from cache import Journal
from cache.journal.mirrored_journal import MirroredJournal
from embed import ExtractSettings, extract, extract_shard

publish = Journal.publish

def noted(self, part):
    path = publish(self, part)
    with open({log!r}, "a") as log:
        log.write("".join(key + "\\n" for key in part.keys))
    if sum(1 for _ in open({log!r})) >= 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return path

Journal.publish = noted
settings = ExtractSettings(modalities=("text",), part_bytes=1, batch_size=2, n_workers=1)
extract({catalogue!r}, {url!r}, encoders=[CountingEncoder("text")], settings=settings)
"""


def test_what_a_killed_machine_put_there_is_not_encoded_again_by_another(url, tmp_path):
    catalogue, log = small_catalogue(tmp_path / "shop", 9), tmp_path / "log"
    values = {"root": str(ROOT), "tests": str(ROOT / "tests"), "log": str(log), "catalogue": str(catalogue), "url": url}
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "killed")}
    process = fork_server.run([sys.executable, "-c", KILLED.format(**values)], env=environment, check=False)
    assert process.returncode == -9
    acknowledged = log.read_text().split()
    assert len(acknowledged) == 4
    encoder = CountingEncoder("text")
    settings = ExtractSettings(modalities=("text",))
    extract(catalogue, url, encoders=[encoder], settings=settings)
    assert encoder.n_encoded == 5
    extract(catalogue, tmp_path / "local.h5", encoders=[CountingEncoder("text")], settings=settings)
    with Cache(url) as remote, Cache(tmp_path / "local.h5") as local:
        assert local.content_sha256 == remote.content_sha256
    assert Journal(LocalCopy(address_of(url)).folder / "work" / "e.h5").paths() == []


def test_shards_of_several_machines_put_their_parts_side_by_side(url, tmp_path, elsewhere):
    """The last call, on either machine, encodes nothing; a shard that is late or repeated does no harm."""
    catalogue = small_catalogue(tmp_path / "shop")

    def encoders():
        return [CountingEncoder("image"), CountingEncoder("text")]

    settings = ExtractSettings(part_bytes=1)

    def n_encoded(report):
        return sum(encoder.n_encoded for encoder in report.encoders)

    remote_shard = elsewhere(extract_shard, catalogue, url, shard="1/2", encoders=encoders(), settings=settings)
    local_shard = extract_shard(catalogue, url, shard="0/2", encoders=encoders(), settings=settings)
    assert str(local_shard.cache_path) == url
    again = elsewhere(extract_shard, catalogue, url, shard="0/2", encoders=encoders(), settings=settings)
    assert n_encoded(again) == 0
    assert n_encoded(elsewhere(extract, catalogue, url, encoders=encoders(), settings=settings)) == 0
    assert n_encoded(local_shard)
    assert n_encoded(remote_shard)
    extract(catalogue, tmp_path / "e.h5", encoders=encoders())
    with Cache(tmp_path / "e.h5") as local, Cache(url) as remote:
        for modality in local.modalities:
            np.testing.assert_array_equal(local.matrix(modality), remote.matrix(modality))
    assert [name for name in objects(url) if ".journal/" in name] == []
    extract_shard(catalogue, url, shard="0/2", encoders=encoders(), settings=settings)
    assert [name for name in objects(url) if ".journal/" in name] == []


def test_last_call_reads_no_picture_that_a_shard_of_another_machine_has_read(url, tmp_path, elsewhere, monkeypatch):
    """Its hints wait in the bucket, and those that the cache had already stay."""
    monkeypatch.setattr("cache.system.file_identity.SETTLED_NS", -(10**15))
    monkeypatch.setattr("embed.extraction.source.content_source.choose_samples", lambda *_, **__: {})
    catalogue, encoder = small_catalogue(tmp_path / "shop"), CountingEncoder("image")
    for _ in range(2):
        elsewhere(extract_shard, catalogue, url, shard="1/2", encoders=[encoder])
        extract_shard(catalogue, url, shard="0/2", encoders=[encoder])
        monkeypatch.setattr(
            "embed.extraction.source.content_source.read_image", lambda *_, **__: pytest.fail("it was read")
        )
        extract(catalogue, url, encoders=[encoder])
        assert objects(url) == ["e.h5", "e.h5.hints"]
    assert encoder.n_encoded == 6


def test_what_a_shard_elsewhere_publishes_after_the_seal_waits_for_the_next(url, elsewhere):
    """No lock reaches there."""
    with elsewhere(open_journal, url, shard="00001-of-00002") as shard:
        publish(shard, ["a"])
        sealed(url, ["b"])
        publish(shard, ["c"])
    assert len(objects(url)) == 2
    sealed(url, ["b"])
    assert objects(url) == ["e.h5"]
    with Cache(url) as cache:
        assert sorted(cache.keys("text").astype(str)) == sorted(keys_of("abc"))
        assert cache.encoded("text", "given").all()


def test_what_workers_publish_into_the_mirror_is_in_the_bucket_before_it_is_sealed(url, elsewhere):
    """As those of an engine do; otherwise it would be lost to a sealer that is faster."""
    with open_journal(url) as journal:
        with Journal(journal.cache_path, shard="ray-1") as worker:
            publish(worker, ["b"])
        journal.take_shards()
        assert len(objects(url)) == 1
        elsewhere(sealed, url, ["a"])
        seal(journal.cache_path, journal, products(["b"]))
    assert vectors_of(url) == {"b": [1, 98]}


@pytest.mark.parametrize("shard", [None, "00000-of-00002"])
def test_part_that_is_damaged_in_the_mirror_alone_stays_in_the_bucket(url, shard, elsewhere, caplog):
    elsewhere(publish_alone, url, ["a"])
    for _ in range(2):
        with open_journal(url, shard=shard) as journal:
            (path,) = journal.paths()
            path.write_bytes(path.read_bytes()[:-1])
            assert list(journal.parts()) == []
    assert caplog.text.count("is damaged. It is set aside") == 2
    assert len(objects(url)) == 1


def test_mirror_looks_into_the_sealed_cache_for_parts_that_are_here_alone(url, monkeypatch):
    sealed(url, ["a"])
    with monkeypatch.context() as patch, open_journal(url) as journal:
        patch.setattr("cache.journal.mirrored_journal.Cache", lambda _: pytest.fail("all keys were read"))
        journal._refresh()


@pytest.mark.parametrize("option", ["--runs", "--image-root"])
def test_a_url_is_refused_where_a_local_path_is_meant(option):
    from heads.commands.train import train as command

    result = invoke(command, option, "s3://me:word@bucket/runs")
    assert result.exit_code == 2
    assert "Expected a path on this machine, got the URL of a bucket" in result.stderr
    assert "word@" not in result.output
