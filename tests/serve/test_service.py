"""Bundles that are replaced while requests use them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from serve_helpers import ONE_THREAD

from toxonnx.serve.service import Service


def test_a_replaced_bundle_answers_the_requests_that_found_it(tone: Path) -> None:
    async def run() -> None:
        service = Service([tone], ONE_THREAD)
        with service.admit(0):
            old = service.find()
            await service.reload()
            assert service.find() is not old
            await asyncio.sleep(0.1)
            assert not (await old.score(["a fine day"])).errors
        await service.drain()
        assert not old.queue.is_alive and not service.find().queue.is_alive

    asyncio.run(run())
