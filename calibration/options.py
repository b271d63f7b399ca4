"""What `tune` and `cross_validate` are both told."""

from __future__ import annotations

from pathlib import Path

import click

from lpips_lite.metric import NETS

data_argument = click.argument("data", metavar="DATA...", type=click.Path(path_type=Path), nargs=-1, required=True)
net_option = click.option("--net", type=click.Choice(NETS), default="lite")
tower_option = click.option("--tower-weights", default=None, help="Path, for towers that are not in the cache.")
