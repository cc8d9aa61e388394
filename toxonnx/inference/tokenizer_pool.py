"""Normalises, hashes and tokenizes texts, in this process or in a pool of processes.

With a GPU this is the slowest part: a core tokenizes some tens of thousands of tweets per second, and Python runs one
thread at a time. :class:`TokenizerPool` spreads the work over processes. They are not started by ``multiprocessing``,
which would run the caller's script a second time, but are commands that communicate over pipes: a list of texts goes
in, three arrays of numbers come out.
"""

from __future__ import annotations

import contextlib
import itertools
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

from toxonnx.errors import MachineError, ToxonnxError
from toxonnx.inference.cache import digest
from toxonnx.inference.tokenizer import TokenizedTexts, Tokenizer
from toxonnx.long_texts import TRUNCATE, LongTexts
from toxonnx.texts import TextSpec, replace_surrogates

__all__ = ["PreprocessedTexts", "TextPreprocessor", "TokenizerPool"]

#: texts that one process gets at a time
CHUNK = 2048
_SIZE = struct.Struct("<Q")
#: characters that are read of a text, for each token of the first window, or if that is more, of all windows: many more
#: than a text in any language needs, so that the time for a hostile text is bounded
CHARACTERS_PER_TOKEN, CHARACTERS_PER_TOKEN_OF_ALL = 1024, 64
#: a process's answer: digests of the texts it got, which it repaired, which it cut, and their tokens
_Chunk = tuple[list[bytes], list[bool], list[bool], TokenizedTexts]


@dataclass(frozen=True)
class PreprocessedTexts:
    """Texts as the model reads them.

    Attributes:
        keys: the digest of each text, by which repeated texts are found.
        repaired: whether lone surrogates of each text were replaced.
        cut: whether each text has more characters than are read.
        tokens: a function that returns the tokens of some of them, by position.
    """

    keys: list[bytes]
    repaired: list[bool]
    cut: list[bool]
    tokens: Callable[[Sequence[int]], TokenizedTexts]


class TextPreprocessor:
    """Normalises and tokenizes in this process.

    Args:
        tokenizer, max_length, long_texts: see :class:`toxonnx.inference.tokenizer.Tokenizer`.
        text: the normalisation.
    """

    def __init__(self, tokenizer: Path, max_length: int, text: TextSpec, long_texts: LongTexts = TRUNCATE) -> None:
        self.tokenizer = Tokenizer(tokenizer, max_length, long_texts)
        self.clean = text.clean
        of_all = CHARACTERS_PER_TOKEN_OF_ALL * self.tokenizer.max_tokens
        self.max_characters = max(CHARACTERS_PER_TOKEN * max_length, of_all)

    def __call__(self, texts: Sequence[str]) -> PreprocessedTexts:
        """Normalises and hashes texts; they are tokenized on request."""
        cut = [len(text) > self.max_characters for text in texts]
        texts = [text[: self.max_characters] for text in texts]
        cleaned = [self.clean(text) for text in texts]
        return PreprocessedTexts(
            [digest(text) for text in cleaned],
            [replace_surrogates(text) != text for text in texts],
            cut,
            lambda rows: self.tokenizer([cleaned[i] for i in rows]),
        )


class TokenizerPool:
    """A text preprocessor in several processes.

    Args:
        processes: their number.
        arguments: of :class:`TextPreprocessor`.
    """

    def __init__(self, processes: int, *arguments: Any) -> None:
        self._workers: list[_Worker] = []
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(processes)
        try:
            for _ in range(processes):
                self._workers.append(_Worker())
                self._free.put(self._workers[-1])
            for worker in self._workers:
                worker.send(arguments)
        except BaseException:
            self.close()
            raise

    def submit(self, texts: Sequence[str]) -> Callable[[], PreprocessedTexts]:
        """Starts on some texts; call the returned function to wait for the result.

        Raises:
            BundleError: (on that call, like the next) the tokenizer failed.
            MachineError: a process has ended: it was killed, or memory ran out.
        """
        chunks: list[Future[_Chunk]] = [
            self._threads.submit(self._ask, list(texts[start : start + CHUNK])) for start in range(0, len(texts), CHUNK)
        ]
        return lambda: _joined([chunk.result() for chunk in chunks])

    def _ask(self, texts: list[str]) -> _Chunk:
        worker = self._free.get()
        try:
            worker.send(texts)
            answer: _Chunk | ToxonnxError = worker.receive()
        finally:
            self._free.put(worker)
        if isinstance(answer, ToxonnxError):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the processes; unfinished work is lost."""
        for worker in self._workers:
            worker.process.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> TokenizerPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


class _Worker:
    """A process and its pipes."""

    def __init__(self) -> None:
        # Each process uses one core: the tokenizer would start its own threads in every one of them.
        environment = {**os.environ, "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        # It imports what this process would, and answers through its own pipe: libraries may print to stdout.
        program = (
            "import sys; sys.path[:] = sys.argv[2:]; "
            "from toxonnx.inference.tokenizer_pool import run_worker; run_worker(int(sys.argv[1]))"
        )
        ours, theirs = os.pipe()
        self._answers = os.fdopen(ours, "rb")
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", program, str(theirs), *sys.path],
                stdin=subprocess.PIPE,
                stdout=2,
                env=environment,
                pass_fds=(theirs,),
                # In its own session: a keyboard interrupt goes to the parent only, which ends it.
                start_new_session=True,
            )
        except OSError as error:
            self._answers.close()
            raise MachineError(f"a tokenizer process does not start: {error.strerror}") from None
        finally:
            os.close(theirs)

    def send(self, message: Any) -> None:
        try:
            _send(self.process.stdin, message)
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
        return MachineError(f"a tokenizer process has ended ({how})", "Run the command again.")

    def close(self) -> None:
        self.process.wait()
        for pipe in (self.process.stdin, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]  # both are pipes


def _joined(chunks: list[_Chunk]) -> PreprocessedTexts:
    keys, repaired, cut, tokens = zip(*chunks, strict=True)
    joined = TokenizedTexts.concatenate(tokens)
    flat = itertools.chain.from_iterable
    return PreprocessedTexts(list(flat(keys)), list(flat(repaired)), list(flat(cut)), joined.subset)


def run_worker(answers: int) -> None:
    """The main function of a tokenizer process: reads the preprocessor's arguments, then texts until the pipe ends."""
    with os.fdopen(answers, "wb") as pipe, contextlib.suppress(EOFError, BrokenPipeError):
        preprocess = TextPreprocessor(*_receive(sys.stdin.buffer))
        while True:
            texts = _receive(sys.stdin.buffer)
            answer: _Chunk | ToxonnxError
            try:
                done = preprocess(texts)
                answer = (done.keys, done.repaired, done.cut, done.tokens(range(len(texts))))
            except ToxonnxError as error:
                answer = error
            _send(pipe, answer)


def _send(pipe: Any, message: Any) -> None:
    data = pickle.dumps(message, protocol=5)
    pipe.write(_SIZE.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: Any) -> Any:
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size:
        raise EOFError
    data = pipe.read(_SIZE.unpack(head)[0])
    return pickle.loads(data)
