"""The check that every decoder makes of its sizes."""


def check_sizes(**sizes: int) -> None:
    """Raise a ValueError that names a size that is not positive."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
