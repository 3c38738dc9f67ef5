"""Plain text tables and figures for people."""

from __future__ import annotations

from collections.abc import Sequence


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[str] = (), width: int = 48) -> str:
    """Aligned columns: those named in `left` to the left, the others to the right. Cells past `width` are shortened."""
    cells = [list(headers), *([shorten(c, width) for c in row] for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(headers))]
    lines = []
    for row in cells:
        parts = [c.ljust(w) if h in left else c.rjust(w) for c, w, h in zip(row, widths, headers)]
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def shorten(text: str, width: int) -> str:
    """The end of a long text, which tells the nodes of a network apart better than its start."""
    return text if len(text) <= width else "…" + text[-(width - 1) :]


def count(number: int) -> str:
    """1,234,567 as 1.23 M; exact below 10,000."""
    if number < 10_000:
        return f"{number:,}"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}" if number < 999.5 * size else f"{number / size:,.0f} {unit}"
    return str(number)


def size(octets: int) -> str:
    """Bytes for people: powers of 1,000."""
    return f"{count(octets)}B" if octets >= 10_000 else f"{octets:,} B"


def shape_text(dims: Sequence[int | str | None] | None) -> str:
    """[N, 3, 224, 224]; ? for a dimension that is not known, [...] for an unknown rank."""
    return "[...]" if dims is None else "[" + ", ".join("?" if d is None else str(d) for d in dims) + "]"
