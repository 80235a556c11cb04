"""The peer of the benchmark: the same ONNX model behind FastAPI and onnxruntime, the usual way.

It checks types (pydantic), names and count of the features, scores and answers. It keeps no record, verifies
no signature, checks no ranges and knows no fallback: what is measured beside it pays for all of that.
"""

import json
import os
from typing import Annotated

import numpy
import onnxruntime
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

EXAMPLE = os.environ["SEALCAST_EXAMPLE"]
LABELS = ["sell", "hold", "buy"]

with open(os.path.join(EXAMPLE, "manifest.json"), encoding="utf-8") as file:
    COLUMNS = [column["name"] for column in json.load(file)["inputs"][0]["columns"]]

options = onnxruntime.SessionOptions()
# One row at a time: more threads a process would only wait for each other.
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    os.path.join(EXAMPLE, "spx-direction.onnx"), options, providers=["CPUExecutionProvider"]
)
app = FastAPI(title="peer", openapi_url=None)


class PredictRequest(BaseModel):
    symbol: str
    features: dict[str, Annotated[float, Field(allow_inf_nan=False)]]


class PredictResponse(BaseModel):
    symbol: str
    label: str
    probabilities: dict[str, float]


@app.get("/health")
async def health() -> dict[str, bool]:
    return {"live": True}


# `async`: a score takes some 20 µs, less than the hand-over to a worker thread.
@app.post("/v1/predict")
async def predict(request: PredictRequest) -> PredictResponse:
    if len(request.features) != len(COLUMNS):
        raise HTTPException(400, f"expected the features {COLUMNS}")
    try:
        row = [request.features[name] for name in COLUMNS]
    except KeyError as missing:
        raise HTTPException(400, f"the feature {missing} is missing") from None
    features = numpy.array([row], dtype=numpy.float32)
    labels, probabilities = session.run(["label", "probabilities"], {"features": features})
    return PredictResponse(
        symbol=request.symbol,
        label=LABELS[int(labels[0])],
        probabilities=dict(zip(LABELS, probabilities[0].tolist(), strict=True)),
    )
