"""Texts to what a model reads: normalised, digested, tokenized; here, or in processes of their own.

Beside a GPU this is the slowest part: a core makes some tens of thousands of tweets a second into tokens, and Python
does one thing at a time. :class:`Encoders` spreads it over processes. These are no children of ``multiprocessing``,
which would run the caller's script a second time, but commands that speak over pipes: a list of texts in, three arrays
of numbers out, and no list of Python integers ever crosses.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import numpy as np

from toxonnx.errors import MachineError, ToxonnxError
from toxonnx.memo import digest
from toxonnx.texts import TextSpec
from toxonnx.tokens import Tokenizer, Tokens

__all__ = ["Encoded", "Encoder", "Encoders"]

#: texts that one process is given at a time
PIECE = 2048
_SIZE = struct.Struct("<Q")
#: what a process answers: digests and tokens of the texts that it was given
_Piece = tuple[list[bytes], Tokens]


@dataclass(frozen=True)
class Encoded:
    """Texts as a model reads them.

    Attributes:
        keys: the digest of each, by which repeats are known.
        tokens: gives the tokens of some of them, by position.
    """

    keys: list[bytes]
    tokens: Callable[[Sequence[int]], Tokens]


class Encoder:
    """Normalises and tokenizes in this process."""

    def __init__(self, tokenizer: Path, max_length: int, text: TextSpec) -> None:
        self.tokenizer = Tokenizer(tokenizer, max_length)
        self.clean = text.clean

    def __call__(self, texts: Sequence[str]) -> Encoded:
        """Encodes texts; tokenizes those that are asked for."""
        cleaned = [self.clean(text) for text in texts]
        return Encoded([digest(text) for text in cleaned], lambda rows: self.tokenizer([cleaned[i] for i in rows]))


class Encoders:
    """The same in several processes.

    Args:
        processes: how many.
        tokenizer, max_length, text: of :class:`Encoder`.
    """

    def __init__(self, processes: int, tokenizer: Path, max_length: int, text: TextSpec) -> None:
        # Each is one core's worth: the tokenizer's own threads would be as many in every process.
        environment = {**os.environ, "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        command = [sys.executable, "-c", "from toxonnx.encoding import serve; serve()"]
        self._processes = [
            subprocess.Popen(
                # In a session of their own: an interrupt from the keyboard is for the parent, which ends them.
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
            for _ in range(processes)
        ]
        self._free: SimpleQueue[Any] = SimpleQueue()
        for process in self._processes:
            _send(process.stdin, (tokenizer, max_length, text))
            self._free.put(process)
        self._threads = ThreadPoolExecutor(processes)

    def submit(self, texts: Sequence[str]) -> Callable[[], Encoded]:
        """Starts on some texts; what is returned waits for the result and gives it.

        Raises:
            MachineError: (when waited for) a process has ended: it was killed, or memory ran out.
        """
        pieces: list[Future[_Piece]] = [
            self._threads.submit(self._ask, list(texts[start : start + PIECE])) for start in range(0, len(texts), PIECE)
        ]
        return lambda: _joined([piece.result() for piece in pieces])

    def _ask(self, texts: list[str]) -> _Piece:
        process = self._free.get()
        try:
            _send(process.stdin, texts)
            answer: _Piece | ToxonnxError = _receive(process.stdout)
        except (OSError, EOFError):
            raise MachineError(
                "a process that tokenizes has ended (was it killed, or did memory run out?)", "Run the command again."
            ) from None
        finally:
            self._free.put(process)
        if isinstance(answer, ToxonnxError):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the processes; what is still being made is lost."""
        for process in self._processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]  # both are pipes

    def __enter__(self) -> Encoders:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def _joined(pieces: list[_Piece]) -> Encoded:
    tokens = [tokens for _, tokens in pieces]
    joined = Tokens(
        np.concatenate([each.ids for each in tokens]),
        np.concatenate([each.lengths for each in tokens]),
        np.concatenate([each.truncated for each in tokens]),
    )
    return Encoded([key for keys, _ in pieces for key in keys], joined.subset)


def serve() -> None:
    """What a process of :class:`Encoders` runs: what an Encoder needs, then texts until the pipe ends."""
    # Answers alone go to standard output; what a library prints joins the messages.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(EOFError, BrokenPipeError):
        encoder = Encoder(*_receive(sys.stdin.buffer))
        while True:
            texts = _receive(sys.stdin.buffer)
            try:
                encoded = encoder(texts)
                _send(answers, (encoded.keys, encoded.tokens(range(len(texts)))))
            except ToxonnxError as error:
                _send(answers, error)


def _send(pipe: Any, what: Any) -> None:
    data = pickle.dumps(what, protocol=5)
    pipe.write(_SIZE.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: Any) -> Any:
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size:
        raise EOFError
    data = pipe.read(_SIZE.unpack(head)[0])
    return pickle.loads(data)
