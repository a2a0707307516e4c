"""Uploading a bundle to the Hugging Face hub."""

import os
from pathlib import Path
from typing import NoReturn

from logllm.errors import ModelError, first_line
from logllm.runs.card import CARD
from logllm.runs.manifest import verified

_LICENCES = ["LICENSE*", "NOTICE*"]


def push(folder: Path, name: str, *, private: bool = False) -> str:
    """Upload a bundle; after an error it can be pushed again.

    The token is the usual one: `HF_TOKEN`, or that of `hf auth login`; `HF_ENDPOINT` names another
    hub. Only the bundle's own files are uploaded, and licences that lie beside them. What the
    repository's folders `encoder` and `decoder` held before is removed.

    Args:
        folder: what `export_run` wrote.
        name: the repository, `owner/name`; it is made if it does not exist.
        private: make it private; a repository that exists and is public is refused.

    Returns:
        The repository's address.

    Raises:
        ModelError: the folder is no bundle, or has changed; there is no token, no right, or no
            network. Each message says the remedy.
    """
    from huggingface_hub import HfApi

    # HTTPError is its own HTTP library's.
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    manifest = verified(folder)
    if "bundle" not in manifest or not (folder / CARD).is_file():
        remedy = (
            f"make one with logllm export {folder} --out BUNDLE, read its {CARD}, and push that"
        )
        raise ModelError(f"{folder} is no bundle: {remedy}")
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        address = api.create_repo(name, private=private or None, exist_ok=True)
        # A repository that is there stays as it is: what was to be private would be shown to all.
        if private and not api.model_info(address.repo_id).private:
            remedy = "make it private on the hub, or name another"
            raise ModelError(f"{address} is there already and public: {remedy}")
        # Nothing else that lies in the folder, such as a person's notes, is uploaded.
        uploaded = [*manifest["files"], CARD, "manifest.json", *_LICENCES]
        api.upload_folder(
            repo_id=address.repo_id,
            folder_path=folder,
            commit_message=f"{manifest['name']}, exported by logllm",
            allow_patterns=uploaded,
            delete_patterns=["encoder/*", "decoder/*"],
        )
    except HfHubHTTPError as exc:
        _refused(exc, name, status=exc.response.status_code)
    except (HTTPError, OSError, ValueError, RuntimeError) as exc:
        reason = first_line(exc)
        what = f"{name} cannot be pushed to {api.endpoint}: {reason}"
        raise ModelError(f"{what}; check the network and the name, and push again") from exc
    return str(address)


def _refused(exc: Exception, name: str, *, status: int) -> NoReturn:
    """Raise an error that says what the hub's refusal means.

    Raises:
        ModelError: always, with the remedy.
    """
    remedies = {
        401: (
            "the hub does not accept your token: log in with hf auth login, or set HF_TOKEN to one"
            " with the right to write"
        ),
        403: (
            "your token may not write there: use one with the right to write, and an owner that is"
            " you or an organisation of yours"
        ),
        404: (
            "the hub does not know it, or your token may not see it: check the name, and that the"
            " token may write"
        ),
    }
    what = remedies.get(status, f"{first_line(exc)}; push again")
    raise ModelError(f"{name} cannot be pushed: {what} (status {status})") from exc
