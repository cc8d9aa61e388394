"""The committed benchmark tables, and the load of ``benchmarks/serving.py``."""

from __future__ import annotations

import asyncio
import csv
import importlib
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import ROOT, write_csv

#: kind of answer of a faulty server -> every so many requests have it
FAULTS = {"swapped": 10, "wrong": 11, "500": 13, "429": 17, "lost": 19}


@pytest.fixture
def http_load(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("http_load")


def test_the_tables_match_the_committed_results() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "tables.py"), "--check"], check=False)
    assert done.returncode == 0, "run python benchmarks/tables.py"


def test_variants_have_the_labels_that_follow_from_how_they_are_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "toxicity"))
    labels = ["toxicity", "identity_attack", "insult", "threat", "profanity", "sexual"]
    header = ["text", *labels, "source", "split_group"]
    attacks = [f"Farmers are {word} and should stay at home" for word in ("lazy", "dull", "slow", "loud", "late")]
    harmless = [f"Teachers are {word} people who like tea" for word in ("kind", "calm", "busy", "tall", "glad")]
    rows = [[text, "1", "1", "1", "0", "0", "0", "forum", "a"] for text in attacks]
    rows += [[text, "0", "0", "0", "0", "0", "0", "forum", "b"] for text in harmless]
    rows += [["old variant", *["0"] * 6, "variant-spelling", "a"], ["quoted", *["0"] * 6, "variant-frame", "a"]]
    data = write_csv(tmp_path / "train.csv", header, rows)
    monkeypatch.setattr(sys, "argv", ["vary.py", str(data), "-o", str(tmp_path / "varied.csv")])
    vary = importlib.import_module("vary")
    vary.main()
    with (tmp_path / "varied.csv").open(newline="") as file:
        varied = list(csv.DictReader(file))
    by_source: dict[str, list[dict[str, str]]] = {}
    for row in varied:
        by_source.setdefault(row["source"], []).append(row)
    assert [row["teacher_text"] for row in by_source["forum"]] == attacks + harmless
    assert [row["teacher_text"] for row in by_source["variant-frame"]] == [""]
    for row in by_source["variant-spelling"]:
        assert row["teacher_text"] in attacks + harmless and row["text"] != row["teacher_text"]
        assert row["identity_attack"] == str(int(row["teacher_text"] in attacks)) and row["profanity"] == ""
    reported = by_source["variant-reported"]
    assert len(reported) == 5 * len(attacks) + 2 * len(harmless)
    starts = [frame.partition("{}")[0].lower() for frame in vary.REJECTING]
    for row in reported:
        text, is_attack = row["text"].lower(), row["split_group"] == "a"
        rejects = text.startswith(tuple(starts)) or any(
            f" {word} " in text for words in vary.NEGATED.values() for word in words
        )
        assert row["toxicity"] == row["identity_attack"] == str(int(is_attack and not rejects)), text
        assert row["insult"] == ("" if is_attack and rejects else str(int(is_attack)))
    assert {row["toxicity"] for row in reported if row["split_group"] == "a"} == {"0", "1"}


def test_added_sentences_have_labels_and_unjudged_variants_a_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = ["text", "toxicity", "identity_attack", "insult", "threat", "profanity", "sexual", "source",
              "split_group", "teacher_text"]  # fmt: skip
    texts = ["Women are late again.", "Most immigrants like tea.", "The soup was cold.", "Our nurses sing."]
    labels = dict(zip(texts, ("110000", "110000", "110000", "000000"), strict=True))
    rows = [[text, *labels[text], "forum", "a", text] for text in texts]
    rows += [["quoted women", *"000000", "variant-frame", "a", ""]]
    data = write_csv(tmp_path / "varied.csv", header, rows)
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "toxicity")
    monkeypatch.setattr(sys, "argv", ["extend.py", str(data), "-o", str(tmp_path / "extended.csv")])
    extend = importlib.import_module("extend")
    extend.main()
    with (tmp_path / "extended.csv").open(newline="") as file:
        extended = list(csv.DictReader(file))
    assert [list(row.values()) for row in extended[: len(rows)]] == rows
    spelled = [row for row in extended[len(rows) :] if row["source"] == "variant-misspelled"]
    assert {row["teacher_text"] for row in spelled} == {*texts} - {"The soup was cold."}
    for row in spelled:
        assert row["text"] != row["teacher_text"]
        assert "".join(row[label] for label in header[1:7]) == labels[row["teacher_text"]][:4]
    plain = [row for row in extended[len(rows) :] if row["source"] == "variant-plain"]
    assert len(plain) == len({row["text"] for row in plain}) == len({row["split_group"] for row in plain})
    assert all("".join(row[label] for label in header[1:7]) == "000000" for row in plain)
    assert not any("{" in row["text"] or row["teacher_text"] for row in plain)
    assert any(not any(map(str.isalnum, row["text"])) for row in plain)
    others = {"variant-misspelled", "variant-plain"}
    added = [row for row in extended[len(rows) :] if row["source"] not in others]
    assert len(added) == len({row["split_group"] for row in added})
    assert all(row["teacher_text"] == row["text"] for row in added)
    unjudged = [row for row in added if row["source"] != "variant-mention"]
    assert {row["source"] for row in unjudged} == {"variant-group", "variant-negation"}
    assert all(row[label] == "" for row in unjudged for label in header[1:7])
    assert not {row["text"] for row in unjudged} & {*texts, "quoted women"}
    dismissive = {frame.split("{")[0].strip().lower() for frame in extend.DISMISSIVE} - {""}
    mentions = [row for row in added if row["source"] == "variant-mention"]
    assert len(mentions) == len(extend.NAMES) * len(extend.NEUTRAL + extend.FRIENDLY + extend.DISMISSIVE)
    assert Counter(row["toxicity"] for row in mentions)["1"] == len(extend.NAMES) * len(extend.DISMISSIVE)
    assert all(row["toxicity"] == row["identity_attack"] and "{" not in row["text"] for row in mentions)
    assert all(row["toxicity"] == "1" for row in mentions if row["text"].lower().startswith(tuple(dismissive)))


def test_unjudged_texts_are_new_have_no_label_and_are_in_no_evaluation_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = ["text", "toxicity", "identity_attack", "insult", "threat", "profanity", "sexual", "source",
              "split_group", "teacher_text"]  # fmt: skip
    words, ends = ("red", "green", "old"), ("cold", "warm", "hot")
    texts = [f"The {word} soup is {end}" for word, end in zip(words, ends, strict=True)]
    texts += ["Our nurses sing all day. We like that very much! Most women are late again."]
    rows = [[text, *"000000", "forum", "a", text] for text in texts]
    rows += [["The blue soup is cold.", *"000000", "variant-frame", "a", ""]]
    data = write_csv(tmp_path / "plain.csv", header, rows)
    variants = [
        ["Most cats like the soup.", *[""] * 6, "variant-group", "b", ""],
        ["Most nurses like the soup.", *"000000", "variant-group", "b", ""],
        ["Women never like that.", *[""] * 6, "variant-negation", "b", ""],
        [texts[0], *[""] * 6, "variant-negation", "b", ""],
    ]
    files = [write_csv(tmp_path / f"{name}.csv", header, variants) for name in "bc"]
    cases = write_csv(tmp_path / "cases.csv", ["case"], [["most IMMIGRANTS are late, again"]])
    output = tmp_path / "unjudged.csv"
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "toxicity")
    options = ["--variants", *map(str, files), "--evaluation", f"{cases}=case", "-o", str(output)]
    monkeypatch.setattr(sys, "argv", ["unjudged.py", str(data), *options])
    importlib.import_module("unjudged").main()
    with output.open(newline="") as file:
        result = list(csv.DictReader(file))
    assert [list(row.values()) for row in result[: len(rows)]] == rows
    added = result[len(rows) :]
    assert not any(row[label] for row in added for label in header[1:7])
    assert len({row["text"] for row in added}) == len({row["split_group"] for row in added}) == len(added)
    by_source: defaultdict[str, set[str]] = defaultdict(set)
    for row in added:
        by_source[row["source"]].add(row["text"])
        assert (row["text"] == row["teacher_text"]) == (row["source"] != "variant-misspelled")
    assert len(by_source.pop("variant-misspelled")) == 2
    replaced = by_source.pop("variant-words")
    assert replaced and replaced <= {f"The {word} soup is {end}" for word in words for end in ends} - {*texts}
    assert by_source == {
        "variant-group": {"Most cats like the soup."},
        "variant-negation": {"Women never like that."},
        "variant-sentence": {"Our nurses sing all day.", "We like that very much!"},
    }


def _scores(number: int) -> tuple[float, float]:
    return (number / 1000, 1 - number / 1000)


class Stub:
    """Answers as ``/v1/classify``, with or without faults."""

    def __init__(self, has_faults: bool) -> None:
        self.has_faults, self.requests = has_faults, 0
        self.counts: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (line := await reader.readline()).strip():
            assert line == b"POST /v1/classify HTTP/1.1\r\n"
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(head.partition(b"content-length:")[2].split()[0])
            numbers = [int(text) for text in json.loads(await reader.readexactly(size))["texts"]]
            self.requests += 1
            faults = [name for name, every in FAULTS.items() if self.has_faults and self.requests % every == 0]
            kind = faults[0] if faults else "200"
            self.counts[kind] += 1
            if kind == "lost":
                break
            writer.write(_response(kind, numbers))
        writer.close()


def _response(kind: str, numbers: list[int]) -> bytes:
    if kind == "swapped":
        numbers = [(number + 2) % 1000 for number in numbers]
    elif kind == "wrong":
        numbers = [number + 5000 for number in numbers]
    results = [{"probabilities": dict(zip("ab", _scores(number), strict=True))} for number in numbers]
    body = json.dumps({"results": results}).encode()
    status = kind if kind.isdecimal() else "200"
    return b"HTTP/1.1 %s OK\r\nContent-Length: %d\r\nRetry-After: 0\r\n\r\n%s" % (status.encode(), len(body), body)


@pytest.mark.parametrize("has_faults", [True, False])
def test_lost_swapped_and_wrong_answers_are_found(http_load: ModuleType, has_faults: bool) -> None:
    requests = [
        http_load.Request(json.dumps({"texts": [str(i), str(i + 1)]}).encode(), 2, (_scores(i), _scores(i + 1)))
        for i in range(0, 1000, 2)
    ]
    stub = Stub(has_faults)

    async def run() -> Any:
        server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await http_load.run_clients(
                http_load.Load("127.0.0.1", port, "/v1/classify", requests), clients=8, seconds=0.4
            )

    found, counts = asyncio.run(run()), stub.counts
    assert found.answered == stub.requests - counts["lost"] > 100
    assert (found.lost, found.swapped, found.wrong) == (counts["lost"], counts["swapped"], counts["wrong"])
    assert (found.statuses.get("500", 0), found.statuses.get("429", 0)) == (counts["500"], counts["429"])
    expected = [f"{counts['500']} answers with status 500"] + [
        f"{counts[k]} answers {k}" for k in ("lost", "swapped", "wrong")
    ]
    assert found.failures() == (expected if has_faults else [])


def test_a_server_is_loaded_and_ended(
    http_load: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serving = importlib.import_module("serving")
    assert serving.main(["--quick", "--json", str(tmp_path / "serving.json")]) == 0, capsys.readouterr().err
    report = json.loads((tmp_path / "serving.json").read_text())
    assert [(one["clients"], one["texts"]) for one in report["loads"]] == list(serving.QUICK_SHAPES)
    for one in (*report["loads"], report["long_run"]):
        assert one["checked"]["statuses"].keys() == {"200"} and one["checked"]["rows_per_second"] > 0
    assert report["long_run"]["accepted"] == report["long_run"]["checked"]["statuses"]["200"]
    assert set(report["summary"]) == {"share_of_offline_rate", "p99_of_one_client_to_model"}
