"""The API page: `/docs`, on which every call can be tried. It asks nothing of any other server."""

from pathlib import Path
from typing import Final

from server.web.constant import Constant

_FOLDER: Final = Path(__file__).parent / "static"
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


def _load(name: str) -> Constant:
    file = _FOLDER / name
    return Constant(file.read_bytes(), _TYPES[file.suffix], _HEADERS)


PAGE: Final = _load("docs.html")
FILES: Final = {name: _load(name) for name in ("docs.css", "docs.js")}
"""What the page is made of beside itself."""
