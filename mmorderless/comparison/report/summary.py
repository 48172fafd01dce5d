"""State in which columns other methods are better than the reference method."""

from mmorderless.comparison.report.results import REFERENCE, mean_and_deviation, paired_differences
from mmorderless.comparison.report.tables import Column, Results, Table, values_of, with_deviation
from mmorderless.figures.style import title_of


def losses_of_reference(column: Column, results: Results) -> list[str] | None:
    """Return the methods that are better than PLA in a column, after rounding.

    A method is compared on the seeds that PLA also has.

    Returns:
        Each method with the mean of its paired differences; * marks a mean that exceeds their
        sample standard deviation. None if no method has a value of a seed that PLA has.
    """
    reference = values_of(results[REFERENCE], column)
    compared, found = False, []
    for method, by_seed in results.items():
        paired = list(paired_differences(values_of(by_seed, column), reference).values())
        if method == REFERENCE or not paired:
            continue
        compared = True
        mean, deviation = mean_and_deviation(paired)
        if column.better * round(mean, column.digits) <= 0:
            continue
        mark = "*" if deviation is not None and column.better * mean > deviation else ""
        difference = with_deviation([mean], column.digits, sign="+")
        found.append((-column.better * mean, f"{title_of(method)} ({difference}){mark}"))
    return [text for _, text in sorted(found)] if compared else None


def where_reference_loses(table: Table, results: Results) -> str:
    """Return a line that names the methods better than PLA, by column.

    Columns that cannot be compared are left out; the line is empty if none is left.
    """
    if REFERENCE not in results:
        return ""
    columns = [column for column in table.columns if column.better]
    # Precision alone is no criterion, because it trades off against recall.
    columns = [column for column in columns if column.paired] or columns
    found = {column.title: losses_of_reference(column, results) for column in columns}
    better = {title: methods for title, methods in found.items() if methods is not None}
    if not better:
        return ""
    name = title_of(REFERENCE)
    # Names of methods contain commas.
    lost = ". ".join(
        f"{title}: {'; '.join(methods)}" for title, methods in better.items() if methods
    )
    if not lost:
        return f"No method is better than {name} in {', '.join(better)}."
    mark = "*: the mean of the paired differences exceeds their standard deviation."
    return f"{name} does not win in {lost}." + (f" ({mark})" if "*" in lost else "")
