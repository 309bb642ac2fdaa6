"""Weights from a model hub, through huggingface_hub: into a plain folder that can be copied to another site."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from . import quiet
from .types import ModelError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w.-]+)?")
ANSWER_WITHIN = 5.0  # seconds for the hub's first answer; its own client would try for minutes
# Other frameworks' copies of the same weights.
LEFT_OUT = [
    "*.h5",
    "*.msgpack",
    "*.onnx",
    "*.tflite",
    "onnx/*",
    "openvino/*",
    "coreml/*",
    "flax_model*",
    "rust_model*",
]


def is_hub_id(name: str) -> bool:
    return HUB_ID.fullmatch(name) is not None


def split(name: str) -> tuple[str, str | None]:
    """`org/name@revision` -> (`org/name`, `revision`)."""
    repo, _, revision = name.partition("@")
    return repo, revision or None


def folder_of(name: str, models_folder: Path) -> Path:
    return models_folder / name.replace("/", "--")


def find(name: str, models_folder: Path) -> Path | None:
    """The folder of a hub model that is here already: pulled by us, or in huggingface_hub's own cache."""
    ours = folder_of(name, models_folder)
    if ours.is_dir():
        return ours
    quiet.hush()
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    repo, revision = split(name)
    try:
        return Path(huggingface_hub.snapshot_download(repo, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, RepositoryNotFoundError):
        return None


def pull(name: str, models_folder: Path, token: str | None = None, endpoint: str | None = None) -> Path:
    """Download a snapshot into `models_folder/org--name`; ModelError says what to do about a refusal.

    An interrupted download goes on where it stopped. The token is `token`, HF_TOKEN, or the one huggingface_hub stored.
    """
    quiet.hush(offline=False)
    try:
        return _download(name, models_folder, token, endpoint)
    finally:
        quiet.hush()


def _download(name: str, models_folder: Path, token: str | None, endpoint: str | None) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    repo, revision = split(name)
    hub = endpoint or huggingface_hub.constants.ENDPOINT
    page = f"{hub}/{repo}"
    copy = f"On a machine with a network: huiting models pull {name}; then copy the folder {folder_of(name, models_folder).name} into {models_folder}."
    reach(hub, copy)
    target = folder_of(name, models_folder)
    coming = models_folder / f".coming-{target.name}"
    coming.mkdir(parents=True, exist_ok=True)
    arguments: dict[str, Any] = {
        "local_dir": coming,
        "revision": revision,
        "token": token,
        "endpoint": endpoint,
    }
    try:
        huggingface_hub.snapshot_download(
            repo, ignore_patterns=LEFT_OUT, etag_timeout=ANSWER_WITHIN, **arguments
        )
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{repo} is gated: its authors want its terms accepted first",
            f"Sign in and accept the terms at {page}, make a read token in your account's settings, then: HF_TOKEN=… huiting models pull {name}",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{repo} has no revision {revision}", f"Look up its revisions at {page}.") from error
    except errors.RepositoryNotFoundError as error:
        has_token = bool(token or huggingface_hub.get_token())
        remedy = (
            f"Check the name at {page}; if it is private, the token in HF_TOKEN must be allowed to read it."
            if has_token
            else f"Check the name at {page}; if it is private or gated, set HF_TOKEN to a read token: HF_TOKEN=… huiting models pull {name}"
        )
        raise ModelError(
            f"the hub shows no {repo} to {'this token' if has_token else 'anonymous visitors'}", remedy
        ) from error
    except (
        errors.HfHubHTTPError,
        errors.LocalEntryNotFoundError,
        errors.IncompleteSnapshotError,
        OSError,
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"could not download {repo}: {reason}", f"Pull again: it goes on where it stopped. {copy}"
        ) from error
    coming.replace(target)
    return target


def reach(endpoint: str, remedy: str) -> None:
    """ModelError unless the hub answers in a few seconds; any answer will do, proxies are those of the environment."""
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=ANSWER_WITHIN).close()
    except urllib.error.HTTPError:
        return
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(f"no network: {endpoint} does not answer ({reason})", remedy) from error
