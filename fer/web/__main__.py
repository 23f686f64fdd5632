"""Serves a page in which a model can be tried on pictures, a webcam and videos: `python -m fer.web --model RUN`."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from fer.errors import UserError, friendly
from fer.predict import options

USER = "fer"
"""Whom a page with a password asks for."""

_SHORTEST = 12  # characters of a password


@friendly
def main() -> None:
    """Serves the page until it is interrupted."""
    arguments = _parser().parse_args()
    predictor = options.predictor(arguments)
    try:
        from starlette.middleware import Middleware

        from fer.web.page import THEME, Limit, page
    except ImportError as error:
        raise UserError(f"the web page needs gradio ({error}): pip install gradio") from None
    lock = _lock(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # uploads go with the program then too
    with closing(page(predictor, str(arguments.model or "the one that comes along"), arguments.keep * 60)) as blocks:
        try:
            blocks.launch(
                server_name=arguments.host,
                server_port=arguments.port,
                share=arguments.share,
                auth=lock,  # type: ignore[arg-type]  # gradio takes coroutines too
                auth_message=f"The user is called {USER}.",
                max_file_size=f"{arguments.limit}mb",
                theme=THEME,
                footer_links=["api"],
                ssr_mode=False,
                state_session_capacity=200,  # it keeps 60 kB for each visitor, of 10,000 if not told otherwise
                app_kwargs={"middleware": [Middleware(Limit, arguments.limit)]},
            )
        except OSError as error:
            raise UserError(f"--host {arguments.host} --port {arguments.port}: {error}") from None


def _lock(arguments: argparse.Namespace) -> Callable[[str, str], Awaitable[bool]] | None:
    """Makes what asks visitors for the password; None where only this machine can reach the page and none was given.

    Raises:
        UserError: Others can reach the page and there is no password, or it is a short one.
    """
    if arguments.password_file is None:
        if _is_loopback(arguments.host) and not arguments.share:
            return None
        option = "--share" if arguments.share else f"--host {arguments.host}"
        raise UserError(f"{option} lets others reach the page: write a password into a file and name it with --password-file")
    try:
        password = arguments.password_file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise UserError(f"--password-file {arguments.password_file} cannot be read ({error})") from None
    if len(password) < _SHORTEST:
        raise UserError(
            f"--password-file {arguments.password_file} holds {len(password)} characters: use {_SHORTEST} or more, such as "
            + secrets.token_urlsafe(_SHORTEST)
        )

    async def admit(user: str, given: str) -> bool:
        right = secrets.compare_digest(f"{user}:{given}".encode(), f"{USER}:{password}".encode())
        if not right:
            await asyncio.sleep(1)  # whoever guesses shall be slow
        return right

    return admit


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fer.web", description=__doc__)
    options.add(parser)
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; 127.0.0.1, this machine only, if not given")
    parser.add_argument("--port", type=int, default=7860, help="default 7860")
    parser.add_argument("--share", action="store_true", help="also through a public link that Gradio's makers relay")
    parser.add_argument("--password-file", type=Path, help=f"holds the password of user {USER}, needed where others reach it")
    parser.add_argument("--limit", type=int, default=50, help="largest upload in MB (default 50)")
    parser.add_argument("--keep", type=float, default=60, help="minutes until uploads and results are deleted (default 60)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
