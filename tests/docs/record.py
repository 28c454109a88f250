"""Records the demo as the picture in the README: ``python -m tests.docs.record``."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI

from redis_retention.cli import demo

PICTURE = Path(__file__).parents[2] / "docs" / "demo.svg"
# The fonts that rich would have fetched from elsewhere; a page with pictures asks nobody.
_FONTS = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
COLUMNS = demo.WIDTH


def record() -> str:
    """Run the demo as on a terminal, and return what it shows as SVG."""
    consoles: list[Console] = []

    def recording(**options: Any) -> Console:
        consoles.append(
            Console(
                **options,
                record=True,
                file=io.StringIO(),
                width=COLUMNS,
                force_terminal=True,
                color_system="truecolor",
            )
        )
        return consoles[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "Console", recording)
        with demo._third_parties_are_quiet():
            demo._tell(demo.play())
    return consoles[0].export_svg(
        title="redis-retention demo",
        theme=MONOKAI,
        code_format=_FONTS.sub("", CONSOLE_SVG_FORMAT),
        unique_id="demo",
    )


if __name__ == "__main__":
    PICTURE.write_text(record(), encoding="utf-8")
