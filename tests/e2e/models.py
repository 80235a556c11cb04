"""Sealed models in the bucket, and what somebody with too many permissions does to them."""

import json
from dataclasses import dataclass
from pathlib import Path

CONTAINER, MANIFEST, SIDECAR, SIGNATURE = "model.packed.sealed", "manifest.json", "key.json", "model.sig"
"""The example's model has a packed form, whose container is the one that a function reads."""
MARKER = "complete.json"
"""Written last: what makes a version exist."""


@dataclass(frozen=True)
class StoredModel:
    """One version of a model in the bucket."""

    stack: object
    name: str
    version: str

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"

    def key(self, file: str) -> str:
        return f"models/{self.name}/{self.version}/{file}"

    def read(self, file: str) -> bytes:
        s3 = self.stack.client("s3")
        return s3.get_object(Bucket=self.stack["MODELS_BUCKET"], Key=self.key(file))["Body"].read()

    def remove(self, file: str) -> None:
        """Hides the object behind a delete marker: Object Lock keeps its versions, but a reader finds nothing."""
        self.stack.client("s3").delete_object(Bucket=self.stack["MODELS_BUCKET"], Key=self.key(file))

    def replace(self, file: str, content: bytes) -> None:
        """Puts other bytes in an object's place; what is hidden may be written once more."""
        self.remove(file)
        self.stack.client("s3").put_object(
            Bucket=self.stack["MODELS_BUCKET"], Key=self.key(file), Body=content, IfNoneMatch="*"
        )


def seal_and_push(sealcast, people, example: Path, folder: Path, version: str) -> StoredModel:
    """Another version of the example's model, sealed and pushed by the sealer."""
    manifest = json.loads((example / "manifest.json").read_text(encoding="utf-8"))
    manifest |= {"version": version, "latency_budget_ms": 20000}
    file = folder / f"{version}.json"
    file.write_text(json.dumps(manifest), encoding="utf-8")
    sealed = folder / version
    onnx = example / f"{manifest['name']}.onnx"
    sealcast.run(people["sealer"], "seal", onnx, "--manifest", file, "--out", sealed)
    sealcast.run(people["sealer"], "push", sealed)
    return StoredModel(sealcast.stack, manifest["name"], version)
