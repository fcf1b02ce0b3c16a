"""Loads data sets from the Hugging Face hub or its local cache."""

from typing import Any

from longspan.errors import InputError


def load_from_hub(
    name: str, repository: str, config: str | None, split: str | None, revision: str | None = None
) -> Any:
    """Load the rows of one split as a `datasets.Dataset`.

    Raises:
        InputError: the hub has no such data set, configuration or split, requires a login, or is not reachable while
            the data set is not cached.
    """
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    local = "a local file works too: pass its path instead of the name"
    try:
        return datasets.load_dataset(repository, config, split=split, revision=revision)
    except DatasetNotFoundError as error:
        raise InputError(f"{name}: the hub has no data set {repository}, or requires a login; {local}") from error
    except ConnectionError as error:
        raise InputError(f"{name}: the Hugging Face hub is not reachable and the set is not cached; {local}") from error
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        # No such configuration or split, or a repository whose loading script `datasets` no longer runs.
        raise InputError(f"{name}: {repository} cannot be read ({error}); {local}") from error


def fingerprint_of(rows: Any) -> str:
    """The fingerprint that `datasets` computes for these rows; it keeps no hash of the files."""
    return str(rows._fingerprint)
