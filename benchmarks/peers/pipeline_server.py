"""A transformers pipeline behind FastAPI, as its users write it.

MODEL=FOLDER THREADS=2 uvicorn --app-dir benchmarks/peers pipeline_server:app
"""

from __future__ import annotations

import os
from typing import Any

import torch
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

MAX_LENGTH = 128

torch.set_num_threads(int(os.environ["THREADS"]))
classify = pipeline("text-classification", model=os.environ["MODEL"], device="cpu", top_k=None)
app = FastAPI()


class Texts(BaseModel):
    """The body of a request."""

    texts: list[str]


@app.get("/health")
def health() -> dict[str, str]:
    """Whether it listens."""
    return {}


@app.post("/classify")
def classify_texts(body: Texts) -> Any:
    """All labels of each text."""
    return classify(body.texts, batch_size=32, truncation=True, max_length=MAX_LENGTH)
