# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn view: a live page on this machine with camera, masks, latency; or Foxglove's protocol."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import add_segmenter_options, frequency, load_segmenter, natural
from lrn_ros.errors import UserError

if TYPE_CHECKING:
    from lrn_ros.view.feed import Feed

_NODE = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "view",
        help="show a live page in the browser: camera and masks, classes, latency",
        description=__doc__,
    )
    add = parser.add_argument
    add("source", metavar="SOURCE",
        help="a camera (0, /dev/video0), a stream (rtsp://…), a video, a folder of images, a bag,"
        " or the name of a running node (/segmentation)")  # fmt: skip
    add("--camera", default="", help="prefix of one of the node's cameras, such as front")
    add("--topic", help="image topic of a bag; default: its only one")
    add("--rate", type=frequency, help="rate in Hz of a file or folder; default: its own")
    add("--model", default="lrnnet_c_camvid", help="a name, or a path (%(default)s)")
    add_segmenter_options(parser)
    add("--host", default="127.0.0.1",
        help="address to serve; any but this machine's own gets a token (%(default)s)")  # fmt: skip
    add("--port", type=natural, help="0: any that is free (8760; with --foxglove 8765)")
    add("--foxglove", action="store_true",
        help="serve Foxglove's protocol for Foxglove and Lichtblick, and no page")  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from lrn_ros.errors import needs

    port = args.port if args.port is not None else (8765 if args.foxglove else 8760)
    if port > 65535:
        raise UserError(f"--port {port}: 0 to 65535 work")
    local = args.host in ("127.0.0.1", "localhost", "::1")
    if args.foxglove:
        if not local:
            raise UserError(
                f"--host {args.host}: Foxglove's protocol has no password, so that --foxglove"
                " serves this machine alone; from another: ssh -L 8765:localhost:8765 HOST"
            )
        with needs("foxglove", "--foxglove"):
            from lrn_ros.view import foxglove_server
    else:
        with needs("view", "the page"):
            from lrn_ros.view import server
    feed = _feed(args)
    try:
        if args.foxglove:
            foxglove_server.serve(feed, args.host, port, lambda at: _say(f"serving {at}"))
        else:
            token = "" if local else server.new_token()
            page = server.ViewServer(feed, args.host, port, token)
            page.run(lambda at: _say(f"open {at}"))
    except KeyboardInterrupt:
        pass
    finally:
        feed.close()
    return 0


def _say(text: str) -> None:
    print(f"{text}   (Ctrl-C ends)", flush=True)


def _feed(args: argparse.Namespace) -> Feed:
    """The feed that SOURCE names: a node, or anything that `lrn segment` reads too."""
    text: str = args.source
    if not Path(text).exists() and _NODE.fullmatch(text) and not text.startswith("/dev/"):
        from lrn_ros.play.processes import check_ros

        check_ros()
        from lrn_ros.view.node_feed import NodeFeed

        return NodeFeed(text, args.camera)
    if args.camera:
        raise UserError(f"--camera {args.camera} works only with the name of a running node")
    from lrn_ros.data.sources import open_source
    from lrn_ros.view.feed import SourceFeed, check_readable, played

    source = open_source(text, topic=args.topic)
    check_readable(source)
    return SourceFeed(source.title, lambda: played(source, args.rate), load_segmenter(args))
