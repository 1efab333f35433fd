"""The stores of obstore by the scheme of a URL, with the credentials that the environment has."""

from __future__ import annotations

import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cache.errors import CloudError

__all__ = ["CLIENT", "RETRY", "SCHEMES", "environment", "make_store"]

# The store's class in obstore, and the variables that say where and who.
SCHEMES = {
    "s3": ("S3Store", "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT_URL of other servers"),
    "gs": ("GCSStore", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": ("AzureStore", "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN"),
}
VARIABLES = ("AWS_", "AZURE_", "GOOGLE_")  # what obstore reads begins so

# A request that fails because of the server or the network is sent again for three minutes. One that gets no byte for
# half a minute has failed; a large one may take longer in all.
RETRY: dict[str, Any] = {"max_retries": 10, "retry_timeout": timedelta(minutes=3)}
CLIENT: dict[str, Any] = {"timeout": "10m", "connect_timeout": "5s", "read_timeout": "30s"}


def environment() -> frozenset[tuple[str, str]]:
    """Return the variables that `make_store` and obstore read."""
    return frozenset((name, os.environ[name]) for name in os.environ if name.startswith((*VARIABLES, "HOME")))


def make_store(scheme: str, name: str) -> Any:
    """Return obstore's store of a bucket.

    Raises:
        CloudError: obstore is not installed, or a variable is wrong.
    """
    try:
        import obstore.store
        from obstore.exceptions import BaseError
    except ImportError as error:
        raise CloudError(f"{scheme}:// needs the package obstore: pip install obstore, or use local files.") from error
    kind, variables = SCHEMES[scheme]
    credentials = _profile() if scheme == "s3" else {}
    try:
        return getattr(obstore.store, kind)(name, config=CLIENT, retry_config=RETRY, **credentials)
    except (BaseError, ValueError):  # which quote what they read
        raise CloudError(f"{scheme}://{name} cannot be opened. See that {variables} are right.") from None


def _profile() -> dict[str, Any]:
    """Return obstore's option for the credentials of a profile in ``~/.aws``; none where the environment has some.

    Raises:
        CloudError: a profile is named, and boto3, which reads them, is not installed.
    """
    is_named = "AWS_PROFILE" in os.environ
    if "AWS_ACCESS_KEY_ID" in os.environ or not (is_named or Path("~/.aws/credentials").expanduser().is_file()):
        return {}
    if find_spec("boto3") is None:
        if is_named:
            raise CloudError("AWS_PROFILE needs the package boto3: pip install boto3, or set AWS_ACCESS_KEY_ID.")
        return {}
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return {"credential_provider": Boto3CredentialProvider()}
    except BotoCoreError as error:
        raise CloudError(
            f"AWS_PROFILE: expected a profile of ~/.aws, got {os.environ.get('AWS_PROFILE')!r}."
        ) from error
