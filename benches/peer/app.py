"""The peer of the Lambda benchmark: the same work as `predict`, the way a Python team writes it.

awslambdaric runs it, Powertools routes and logs, boto3 talks to S3, KMS and DynamoDB, onnxruntime scores. It opens
the very artifact that `sealcast push` stored: signature, digests, data key from KMS, commitment, decryption, digest
of the plain model. Every answer is written to the audit table first, as a signed event that is chained to the one
before. It checks names and types of the features; it knows no ranges, no fallback and no request ids.
"""

import base64
import hashlib
import json
import os
import time
import uuid

import boto3
import numpy
import onnxruntime
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler.exceptions import BadRequestError
from cobblestone import open_sealed
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

NAME, VERSION = "spx-direction", "1.0.0"
FOLDER = f"models/{NAME}/{VERSION}/"
LABELS = ["sell", "hold", "buy"]

logger = Logger(service="peer")
app = APIGatewayHttpResolver()
s3, kms, dynamodb = (boto3.client(service) for service in ("s3", "kms", "dynamodb"))


def read(name: str) -> bytes:
    return s3.get_object(Bucket=os.environ["SEALCAST_MODELS_BUCKET"], Key=FOLDER + name)["Body"].read()


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a DSSE signature covers."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)


def load() -> tuple[dict, onnxruntime.InferenceSession]:
    """Manifest and session of the sealed model; any doubt about the artifact is an exception."""
    files = {name: read(name) for name in ("manifest.json", "model.onnx.sealed", "model.sig", "key.json")}
    envelope = json.loads(files["model.sig"])["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    public_key = serialization.load_der_public_key(base64.b64decode(os.environ["SEALCAST_TRUSTED_KEYS"]))
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    public_key.verify(signature, pae(envelope["payloadType"], payload), ec.ECDSA(hashes.SHA256()))
    signed = {resource["name"]: resource["digest"] for resource in json.loads(payload)["predicate"]["resources"]}
    for name in ("manifest.json", "model.onnx.sealed"):
        if hashlib.sha256(files[name]).hexdigest() != signed[name]:
            raise ValueError(f"{name} is not what was signed")
    manifest, sidecar = json.loads(files["manifest.json"]), json.loads(files["key.json"])
    context = {"model": NAME, "sha256": manifest["model"]["sha256"], "version": VERSION}
    data_key = kms.decrypt(
        CiphertextBlob=base64.b64decode(sidecar["wrapped_key"]), KeyId=sidecar["key_id"], EncryptionContext=context
    )["Plaintext"]
    canonical = json.dumps(context, separators=(",", ":"), sort_keys=True).encode()
    onnx = open_sealed(data_key, canonical, files["model.onnx.sealed"])
    if hashlib.sha256(onnx).hexdigest() != context["sha256"]:
        raise ValueError("the model is not the one that was sealed")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return manifest, onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


class Stream:
    """The environment's audit stream: a key of its own, which KMS vouches for, and a chain of signed events."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.seq = 0
        self.key = ed25519.Ed25519PrivateKey.generate()
        public = self.key.public_key().public_bytes_raw().hex()
        registration = json.dumps({"stream": self.id, "public_key": public, "time": time.time()}).encode()
        signature = kms.sign(
            KeyId=os.environ["SEALCAST_STREAM_KEY"],
            Message=registration,
            MessageType="RAW",
            SigningAlgorithm="ED25519_SHA_512",
        )["Signature"]
        self.prev = hashlib.sha256(b"\0" + registration).hexdigest()
        self.put("registration", registration, signature)

    def put(self, sk: str, entry: bytes, signature: bytes) -> None:
        dynamodb.put_item(
            TableName=os.environ["SEALCAST_AUDIT_TABLE"],
            Item={
                "pk": {"S": f"S#{self.id}"},
                "sk": {"S": sk},
                "entry": {"B": entry},
                "sig": {"B": signature},
            },
            ConditionExpression="attribute_not_exists(pk)",
        )

    def record(self, data: dict) -> dict:
        event = {"stream": self.id, "seq": self.seq, "prev": self.prev, "time": time.time(), "data": data}
        entry = json.dumps(event, separators=(",", ":"), sort_keys=True).encode()
        self.put(f"{self.seq:020}", entry, self.key.sign(entry))
        self.prev = hashlib.sha256(b"\0" + entry).hexdigest()
        receipt = {"stream": self.id, "seq": self.seq, "leaf_hash": self.prev}
        self.seq += 1
        return receipt


manifest, session = load()
stream = Stream()
COLUMNS = [column["name"] for column in manifest["inputs"][0]["columns"]]


@app.post("/v1/predict")
def predict() -> dict:
    request = app.current_event.json_body
    features = request.get("features")
    if not isinstance(features, dict) or set(features) != set(COLUMNS):
        raise BadRequestError(f"features: expected {COLUMNS}")
    if not all(isinstance(value, (int, float)) for value in features.values()):
        raise BadRequestError("features: expected numbers")
    row = numpy.array([[features[name] for name in COLUMNS]], dtype=numpy.float32)
    labels, probabilities = session.run(["label", "probabilities"], {"features": row})
    answer = {
        "symbol": request["symbol"],
        "label": LABELS[int(labels[0])],
        "probabilities": dict(zip(LABELS, probabilities[0].tolist(), strict=True)),
        "request_id": str(uuid.uuid4()),
    }
    return {**answer, "receipt": stream.record({"inputs": features, **answer})}


@logger.inject_lambda_context
def handler(event: dict, context: object) -> dict:
    return app.resolve(event, context)
