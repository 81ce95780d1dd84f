"""Find the training configs of this package, and write those of users."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..files import atomic_path

if TYPE_CHECKING:  # the command line lists the configs without importing spaCy
    from thinc.api import Config


def configs_dir() -> Path:
    """Get the folder of the training configs.

    RETURNS (Path): the folder `configs`: inside the package, or in the repository root of a
        checkout on a system without symbolic links.
    """
    package = Path(__file__).parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def list_configs() -> dict[str, Path]:
    """List the training configs of this package.

    RETURNS (dict[str, Path]): the files by name.
    """
    return {path.stem: path for path in sorted(configs_dir().glob("*.cfg"))}


def find_config(name: str | Path) -> Path:
    """Find a config by its name or file.

    name (str | Path): the name of a config of this package, or a file.
    RETURNS (Path): the file.
    RAISES (ValueError): there is no such config.
    """
    if Path(name).is_file():
        return Path(name)
    configs = list_configs()
    if str(name) not in configs:
        from ..errors import ConfigError  # noqa: PLC0415 - `bigru-tagger --help` imports this module

        raise ConfigError(f"no config {str(name)!r}: choose a file, or {', '.join(configs)}")
    return configs[str(name)]


def write_config(config: "Config", folder: Path) -> Path:
    """Write a training config.

    config (Config): the config, not interpolated, so that its paths can be overridden.
    folder (Path): the output folder of the training.
    RETURNS (Path): the file, `config.cfg`.
    """
    path = folder / "config.cfg"
    with atomic_path(path) as temporary:
        config.to_disk(temporary, interpolate=False)
    return path
