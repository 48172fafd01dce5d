"""Find the configs and launchers that come with the package, in a clone and in an installation."""

from functools import wraps
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

PREFIX = "mmorderless::"

_PACKAGE = Path(__file__).resolve().parents[1]
# OpenMMLab's place in an installed package; setup.py copies the clone's folders there.
_MIM = _PACKAGE / ".mim"
ROOT = _MIM if _MIM.is_dir() else _PACKAGE.parent
CONFIGS = ROOT / "configs"
TOOLS = ROOT / "tools"


def config_file(name: str | Path) -> str:
    """Return the path of a config; `mmorderless::digits/pla_digits.py` is a shipped one."""
    name = str(name)
    return str(CONFIGS / name.removeprefix(PREFIX)) if name.startswith(PREFIX) else name


def register_configs() -> None:
    """Let mmengine take `mmorderless::NAME` as the `_base_` of a config.

    mmengine's own look-up needs `.mim`, which a clone lacks, and gives the types of the config the
    scope `mmorderless`, which has no registry: ours are registered in mmpretrain's.
    """
    MODULE2PACKAGE["mmorderless"] = "mmorderless"  # for mmengine.hub
    find = Config._get_cfg_path

    @wraps(find)
    def find_config(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(PREFIX):
            return config_file(cfg_path), None
        return find(cfg_path, filename)

    Config._get_cfg_path = staticmethod(find_config)
