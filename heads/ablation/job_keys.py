"""The key that a job's outcome is remembered by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from heads.experiment.chosen_encoders import Encoder
from heads.experiment.configuration import FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.input_digests import array_sha256, rows_sha256, split_sha256, tokens_sha256, vectors_sha256
from heads.experiment.result_store import job_key
from heads.head_types import head_type
from heads.modules.plugin import plugin_sha256

__all__ = ["JobKeys"]

# Keys of older versions stay valid. A setting that was added later is left out of the key at the value that training
# had before there was such a setting; where a setting makes no difference to a head, the key has its former default.
LATER = {"scaling": "z-score", "schedule": "none", "warmup": 0.0}
UNUSED = {"schedule": "none", "batch_size": 256}


class JobKeys:
    """The SHA-256 of all that each job's outcome follows from, on the device that `trained_on` describes.

    Jobs that train the same have one key, that of their plain settings.
    """

    def __init__(self, experiment: Experiment, *, trained_on: Mapping[str, str]) -> None:
        problem = experiment.problem
        self._experiment = experiment
        self._trained_on = dict(trained_on)
        self._vectors_sha256 = cache(lambda encoder, version: vectors_sha256(problem.vectors[encoder][version]))
        self._tokens_sha256 = cache(lambda encoder, version: tokens_sha256(problem.vectors[encoder][version]))
        self._plugin_sha256 = cache(plugin_sha256)
        self._groups_sha256 = cache(lambda: rows_sha256(problem.groups))
        self._split_sha256 = cache(lambda fold: split_sha256(problem.folds[fold], problem.labels.targets))

    def of(self, job: FoldJob) -> str:
        """Return a job's key."""
        return self._key(self._experiment.plain(job))

    def legacy_of(self, job: FoldJob) -> str:
        """Return the key of the job's settings as they were asked for, by which older versions remember it."""
        return self._key(job)

    def _key(self, job: FoldJob) -> str:
        problem, description = self._experiment.problem, self._experiment.describe(job)
        versions = {encoder: problem.version(encoder, job.fold) for encoder in job.configuration.encoders}
        names = (job.configuration.head, *job.configuration.beside)
        makes_folds = any(head_type(name).makes_folds for name in names)
        takes_names = any(head_type(name).takes_names for name in names)
        raised_versions = {name: head_type(name).version for name in names if head_type(name).version > 1}
        class_names = self._names_sha256(versions) if takes_names else {}
        return job_key(
            {
                **({"groups": self._groups_sha256()} if makes_folds else {}),
                **({"class_names": class_names} if class_names else {}),
                **({"versions": raised_versions} if raised_versions else {}),
                **({"beside": job.configuration.beside} if job.configuration.beside else {}),
                "vectors": {
                    encoder[0]: self._vectors_sha256(encoder, version) for encoder, version in versions.items()
                },
                "tokens": {
                    encoder[0]: self._tokens_sha256(encoder, version)
                    for encoder, version in versions.items()
                    if encoder[0] in description.token_dims
                },
                "label": problem.labels.column,
                "classes": problem.labels.classes,
                "split": self._split_sha256(job.fold),
                "description": _without_later(description.to_dict()),
                "plugin": self._plugin_sha256(description.plugin) if description.plugin else "",
                "settings": _settings_in_key(job),
                "trained_on": self._trained_on,
            }
        )

    def _names_sha256(self, encoders: Iterable[Encoder]) -> dict[str, str]:
        """Return the digests of the vectors of the classes' names, by modality, where there are such."""
        names = self._experiment.problem.class_names
        return {encoder[0]: array_sha256(names[encoder].numpy()) for encoder in encoders if encoder in names}


def _settings_in_key(job: FoldJob) -> dict[str, Any]:
    """Return the settings that make a job's key, as a version that knew no later settings would have them."""
    unused = {name: value for name, value in UNUSED.items() if name not in job.configuration.used}
    return _without_later({**asdict(job.settings), **unused})


def _without_later(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in LATER or value != LATER[name]}
