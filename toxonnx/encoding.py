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
        self._workers: list[_Worker] = []
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(processes)
        try:
            for _ in range(processes):
                self._workers.append(_Worker())
                self._free.put(self._workers[-1])
            for worker in self._workers:
                worker.send((tokenizer, max_length, text))
        except BaseException:
            self.close()
            raise

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
        worker = self._free.get()
        try:
            worker.send(texts)
            answer: _Piece | ToxonnxError = worker.receive()
        finally:
            self._free.put(worker)
        if isinstance(answer, ToxonnxError):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the processes; what is still being made is lost."""
        for worker in self._workers:
            worker.process.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Encoders:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


class _Worker:
    """A process, and the pipes to and from it."""

    def __init__(self) -> None:
        # Each is one core's worth: the tokenizer's own threads would be as many in every process.
        environment = {**os.environ, "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        # It imports what this process would, and answers by a pipe of its own: others may print what they like.
        program = "import sys; sys.path[:] = sys.argv[2:]; from toxonnx.encoding import serve; serve(int(sys.argv[1]))"
        ours, theirs = os.pipe()
        self._answers = os.fdopen(ours, "rb")
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", program, str(theirs), *sys.path],
                stdin=subprocess.PIPE,
                stdout=2,
                env=environment,
                pass_fds=(theirs,),
                # In a session of its own: an interrupt from the keyboard is for the parent, which ends it.
                start_new_session=True,
            )
        except OSError as error:
            self._answers.close()
            raise MachineError(f"a process that tokenizes does not start: {error.strerror}") from None
        finally:
            os.close(theirs)

    def send(self, what: Any) -> None:
        try:
            _send(self.process.stdin, what)
        except OSError:
            raise self._ended() from None

    def receive(self) -> Any:
        try:
            return _receive(self._answers)
        except (OSError, EOFError):
            raise self._ended() from None

    def _ended(self) -> MachineError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        code = self.process.returncode
        how = "was killed; did memory run out?" if code == -9 else f"exit code {code}"
        return MachineError(f"a process that tokenizes has ended ({how})", "Run the command again.")

    def close(self) -> None:
        self.process.wait()
        for pipe in (self.process.stdin, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]  # both are pipes


def _joined(pieces: list[_Piece]) -> Encoded:
    tokens = [tokens for _, tokens in pieces]
    joined = Tokens(
        np.concatenate([each.ids for each in tokens]),
        np.concatenate([each.lengths for each in tokens]),
        np.concatenate([each.truncated for each in tokens]),
    )
    return Encoded([key for keys, _ in pieces for key in keys], joined.subset)


def serve(answers: int) -> None:
    """What a process of :class:`Encoders` runs: what an Encoder needs, then texts until the pipe ends."""
    with os.fdopen(answers, "wb") as pipe, contextlib.suppress(EOFError, BrokenPipeError):
        encoder = Encoder(*_receive(sys.stdin.buffer))
        while True:
            texts = _receive(sys.stdin.buffer)
            try:
                encoded = encoder(texts)
                _send(pipe, (encoded.keys, encoded.tokens(range(len(texts)))))
            except ToxonnxError as error:
                _send(pipe, error)


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
