"""The corpus: hostile requests, each with the answer it must get."""

from tests.hostile.corpus import bodies, calls, forms, framing, heads, images

FAMILIES = {
    "forms": forms.CASES,
    "bodies": bodies.CASES,
    "framing": framing.CASES,
    "heads": heads.CASES,
    "calls": calls.CASES,
    "images": images.CASES,
}
