"""A bundle to the Hugging Face hub."""

import os
from pathlib import Path
from typing import NoReturn

from logllm.errors import ModelError, first_line
from logllm.runs.card import CARD
from logllm.runs.manifest import verified

_LICENCES = ["LICENSE*", "NOTICE*"]


def push(folder: Path, name: str, *, private: bool = False) -> str:
    """Upload a bundle, all of it in the repository or, after an error, to be pushed again.

    The token is the usual one: `HF_TOKEN`, or that of `hf auth login`; `HF_ENDPOINT` names another
    hub. Only the bundle's own files go, and licences beside them; what encoder and decoder held
    there before is removed.

    Args:
        folder: what `export_run` wrote.
        name: the repository, `owner/name`; made where it is not there.
        private: make it private; one that is there and public is refused.

    Returns:
        The repository's address.

    Raises:
        ModelError: no bundle, or one that has changed; no token, no right, no network, each with
            the remedy.
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
        api.upload_folder(
            repo_id=address.repo_id,
            folder_path=folder,
            commit_message=f"{manifest['name']}, exported by logllm",
            allow_patterns=[*manifest["files"], CARD, "manifest.json", *_LICENCES],
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
    """What the hub's refusal means."""
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
