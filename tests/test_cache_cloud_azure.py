"""Caches and pictures in a container of Azure's, against a real server of its blobs: the tests of a bucket of S3.

Where access is concerned, there are others of the same names.
"""

import re

import pytest
from azure_server import ACCOUNT, KEY, PROGRAM, AzureServer, signed_access
from bucket_server import BUCKET, open_proxy
from support import CountingEncoder, invoke, small_catalogue
from test_cache_cloud import *  # noqa: F403
from test_cache_cloud import objects, publish, sealed, vectors_of
from test_embed_contents_objects import *  # noqa: F403

from cache.cloud.addresses import address_of
from cache.cloud.buckets import open_bucket
from cache.errors import CloudError
from cache.journal.mirrored_journal import open_journal
from embed import extract
from embed.commands.extract import extract as extract_command

if PROGRAM is None:
    pytest.skip("no server of Azure's blobs: npm install -g azurite", allow_module_level=True)

pytestmark = pytest.mark.slow

# Profiles are S3's alone. Conditions are covered by what signs a request, unless access is by a signature in the URL
# which Azurite removes nothing.
del test_profiles_are_read_where_the_environment_has_no_credentials  # noqa: F821
del test_a_store_without_conditional_writes_is_named_before_any_work  # noqa: F821


@pytest.fixture(scope="module")
def azure_server(tmp_path_factory):
    pytest.importorskip("obstore")
    server = AzureServer(tmp_path_factory.mktemp("container"))
    yield server
    server.close()


@pytest.fixture
def bucket_url():
    return f"az://{BUCKET}"


@pytest.fixture
def proxy(azure_server, monkeypatch):
    with open_proxy(azure_server.port, monkeypatch) as proxy:
        settings = {"ENDPOINT": f"http://127.0.0.1:{proxy.port}/{ACCOUNT}", "ACCOUNT_NAME": ACCOUNT, "ACCOUNT_KEY": KEY}
        for name, value in settings.items():
            monkeypatch.setenv(f"AZURE_STORAGE_{name}", value)
        monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
        yield proxy


@pytest.fixture
def use_signature(monkeypatch):
    """What gives access by a signature with some permissions in place of the account's key."""

    def use(permissions):
        monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", signed_access(permissions))

    return use


def test_a_bucket_that_is_read_only_is_named_before_any_work(url, use_signature, tmp_path):
    sealed(url, ["a"])
    use_signature("rl")
    encoder = CountingEncoder("text")
    with pytest.raises(CloudError, match="Expected a bucket that can be written.*403") as refused:
        extract(small_catalogue(tmp_path / "shop"), url, encoders=[encoder])
    assert encoder.n_encoded == 0
    assert "sig" not in str(refused.value)
    assert vectors_of(url) == {"a": [1, 97]}  # which may be read


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AZURE_STORAGE_ACCOUNT_KEY", "a+wrong+word", "refuses access.*403.*AZURE_STORAGE_ACCOUNT_KEY"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "a-wrong-word", "cannot be opened.*AZURE_STORAGE_ACCOUNT_KEY"),
        ("AZURE_STORAGE_SAS_TOKEN", "a-wrong-word", "cannot be opened.*AZURE_STORAGE_SAS_TOKEN are right"),
        ("AZURE_ALLOW_HTTP", "false", "AZURE_ALLOW_HTTP=true"),
        ("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:9/nobody", "did not answer as it should"),
    ],
)
def test_what_is_wrong_with_the_access_is_named_and_no_secret_shown(url, monkeypatch, name, value, message, tmp_path):
    monkeypatch.setenv(name, value)
    if name.endswith("TOKEN"):
        monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    result = invoke(extract_command, small_catalogue(tmp_path / "shop"), "-o", url, "--modalities", "text")
    assert result.exit_code == 1
    assert re.search(message, result.stderr), result.stderr
    assert value not in result.output or name.endswith(("HTTP", "ENDPOINT"))
    assert KEY not in result.output
    assert "Traceback" not in result.output


def test_objects_that_are_not_there_are_no_error_to_remove(url):
    address = address_of(url)
    bucket = open_bucket(address)
    bucket.put(address.key, b"1")
    bucket.delete([f"{address.key}.none", address.key])
    assert objects(url) == []
    bucket.delete([address.key])


def test_tag_of_a_listing_is_that_of_the_object(url):
    with open_journal(url) as journal:
        publish(journal, ["a"])
    address = address_of(url)
    bucket = open_bucket(address)
    ((key, listed),) = bucket.list(f"{address.key}.journal")
    assert bucket.head(key) == bucket.get(key)[0] == listed
