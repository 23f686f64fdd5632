"""Serves a page in which a model can be tried on pictures, a webcam and videos: `python -m fer.web --model RUN`."""

from __future__ import annotations

import argparse
import sys

from fer.errors import UserError, friendly
from fer.predict import options


@friendly
def main() -> None:
    """Serves the page until it is interrupted."""
    arguments = _parser().parse_args()
    predictor = options.predictor(arguments)
    try:
        from fer.web.page import THEME, page
    except ImportError as error:
        raise UserError(f"the web page needs gradio ({error}): pip install gradio") from None
    name = str(arguments.model or "the one that comes along")
    try:
        page(predictor, name).launch(
            server_name=arguments.host,
            server_port=arguments.port,
            max_file_size=f"{arguments.limit}mb",
            theme=THEME,
            footer_links=["api"],
            ssr_mode=False,
        )
    except OSError as error:
        raise UserError(f"--host {arguments.host} --port {arguments.port}: {error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fer.web", description=__doc__)
    options.add(parser)
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default 127.0.0.1, this machine only)")
    parser.add_argument("--port", type=int, default=7860, help="default 7860")
    parser.add_argument("--limit", type=int, default=50, help="largest upload in MB (default 50)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
