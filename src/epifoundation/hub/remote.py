"""Models by name from the Hugging Face hub, where its client is installed."""

import importlib.util
import re
from pathlib import Path

from epifoundation.errors import ModelError

REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+")  # owner/name
CLIENT = "huggingface_hub"


def local_folder(path_or_repo_id: Path | str) -> Path:
    """Return the folder of a model: the path itself, or a download of `owner/name`."""
    folder = Path(path_or_repo_id)
    if folder.exists() or not REPOSITORY.fullmatch(str(path_or_repo_id)):
        return folder
    if importlib.util.find_spec(CLIENT) is None:
        message = (
            f"{path_or_repo_id} is no folder here. If it names a model on Hugging Face, install"
            f" its client first (pip install {CLIENT}); else check the path."
        )
        raise ModelError(message)
    return _download(str(path_or_repo_id))


def _download(repository: str) -> Path:
    client = importlib.import_module(CLIENT)
    try:
        # Files of a model directory only; none of them can hold code.
        patterns = ["*.json", "*.jsonl", "*.safetensors", "*.tsv", "*.txt", "*.bed.gz", "*.md"]
        return Path(client.snapshot_download(repository, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        line = str(error).splitlines()[0]
        message = (
            f"{repository} is no folder here and cannot be fetched from Hugging Face ({line})."
            " Check the name and the network, or download the model and give its folder."
        )
        raise ModelError(message) from error
