"""Load the weights of mmpretrain's models by the model's name."""

from difflib import get_close_matches

from mmengine.runner import CheckpointLoader
from mmpretrain.apis import ModelHub, list_models

SCHEME = "mmpretrain://"


def weights_address(model: str) -> str:
    """Return the address of a model's weights; raise a ValueError if mmpretrain names none."""
    names = list_models()
    if model.lower() not in names:
        close = get_close_matches(model.lower(), names, n=3)
        suggestion = f"did you mean {' or '.join(close)}? " if close else ""
        raise ValueError(
            f"mmpretrain has no model {model!r}; {suggestion}mmpretrain.list_models('NAME*') lists "
            "the names with this beginning"
        )
    address = ModelHub.get(model).weights
    if address is None:
        raise ValueError(
            f"mmpretrain has no weights of the model {model!r}; name another model, or give the "
            "path of a checkpoint"
        )
    return address


# mmengine matches prefixes with `re.match`; force=True allows importing this module again.
@CheckpointLoader.register_scheme(prefixes=SCHEME, force=True)
def load_from_model_hub(filename: str, map_location: str | None = None) -> dict:
    """Load the checkpoint of `mmpretrain://MODEL`; mmengine's `mmcls://` lacks the newer models."""
    address = weights_address(filename.removeprefix(SCHEME))
    return CheckpointLoader.load_checkpoint(address, map_location=map_location)
