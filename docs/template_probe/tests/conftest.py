"""For every test: shapes in annotations are checked at each call."""

from jaxtyping import install_import_hook

install_import_hook("head_reach", "beartype.beartype")  # before anything imports head_reach
