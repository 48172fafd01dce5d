"""Read from a CSV file which labels of images are known before the images are predicted."""

from mmorderless.datasets.csv_files import (
    IGNORE,
    IMAGE,
    LABELS,
    LabeledImage,
    parse_row,
    read_cells,
    report_repeated_images,
)
from mmorderless.datasets.json_values import shown

GIVEN, EXCLUDED = "given", "excluded"
FORM = "the header is image,given or image,excluded or image,given,excluded"


def read_known_csv(path: str) -> list[LabeledImage]:
    """Read the known labels of images.

    Args:
        path: file in the form of `read_label_table`, with the columns `image`, and `given`,
            `excluded` or both: names of classes that are and that are not labels of the image,
            separated by `;`.

    Returns:
        For each image its given labels, in their order, as `labels`, and the excluded ones as
        `ignored`.

    Raises:
        OSError, ValueError: see `read_label_table`.
    """
    header, cells_of_rows = read_cells(path, FORM)
    others = {*header} - {IMAGE, GIVEN, EXCLUDED}
    if others or len(header) < 2:
        raise ValueError(f"{path} has the columns {shown(header)}; {FORM}")
    rows = []
    for line, cells in cells_of_rows:
        known = {LABELS: cells.get(GIVEN, ""), IGNORE: cells.get(EXCLUDED, "")}
        if row := parse_row({IMAGE: cells[IMAGE], **known}, line):
            rows.append(row)
    report_repeated_images(rows, path)
    return rows
