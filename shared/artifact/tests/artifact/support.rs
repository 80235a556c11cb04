//! Fixed keys and a small key service, so that every test seals the same artifact.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use artifact::context::Context;
use artifact::seal::{self, PackedModel, SealedArtifact};
use artifact::{
    ArtifactFiles, DataKey, Manifest, ModelName, ModelVersion, Opened, PublicKey, Salt, Sidecar,
    TrustedKey, open,
};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{EncodePublicKey as _, LineEnding};

/// The smaller of the two example models, an ONNX file of 2,446 bytes.
pub(crate) const ONNX: &[u8] =
    include_bytes!("../../../../examples/spx-direction/spx-direction-mlp.onnx");
pub(crate) const MANIFEST: &[u8] =
    include_bytes!("../../../../examples/spx-direction/manifest-mlp.json");
pub(crate) const KEY_ID: &str = "alias/model-key";
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn data_key() -> DataKey {
    DataKey::new([0x5e; 32])
}

pub(crate) fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32].into()).unwrap()
}

pub(crate) fn public_key(seed: u8) -> PublicKey {
    let pem = signing_key(seed)
        .verifying_key()
        .to_public_key_pem(LineEnding::LF)
        .unwrap();
    PublicKey::from_pem(&pem).unwrap()
}

pub(crate) fn trusted(seed: u8) -> Vec<TrustedKey> {
    vec![TrustedKey::always(public_key(seed))]
}

pub(crate) fn sign(seed: u8, bytes: &[u8]) -> Vec<u8> {
    let signature: DerSignature = signing_key(seed).sign(bytes);
    signature.as_bytes().to_vec()
}

pub(crate) fn manifest() -> Manifest {
    Manifest::from_json(MANIFEST).unwrap()
}

/// The artifact of `manifest` and `onnx`, signed by key 1.
pub(crate) fn seal_as(manifest: Manifest, onnx: &[u8]) -> SealedArtifact {
    let unsigned = seal::seal(manifest, onnx, &data_key(), &Salt([0xa1; 24])).unwrap();
    let der = sign(1, unsigned.pae());
    unsigned.sign(&der, &public_key(1)).unwrap()
}

pub(crate) fn sealed() -> SealedArtifact {
    seal_as(manifest(), ONNX)
}

/// What stands for a packed form.
pub(crate) const PACKED: &[u8] = b"the same model, packed";

/// As [`sealed`], with a packed form of version 1.
pub(crate) fn sealed_with_packed() -> SealedArtifact {
    let packed = PackedModel {
        format: 1,
        bytes: PACKED,
        salt: Salt([0xb2; 24]),
    };
    let unsigned =
        seal::seal_packed(manifest(), ONNX, packed, &data_key(), &Salt([0xa1; 24])).unwrap();
    let der = sign(1, unsigned.pae());
    unsigned.sign(&der, &public_key(1)).unwrap()
}

pub(crate) fn expected() -> (ModelName, ModelVersion) {
    (
        ModelName::parse("spx-direction-mlp").unwrap(),
        ModelVersion::parse("1.0.0").unwrap(),
    )
}

/// A key service with one key: it wraps under a context, and unwraps under the same one only.
fn cipher() -> Aes256Gcm {
    Aes256Gcm::new(&[0x3c; 32].into())
}

pub(crate) fn wrap(key: &DataKey, context: &Context) -> Vec<u8> {
    let aad = &context.to_canonical_json();
    cipher()
        .encrypt(
            &Nonce::default(),
            Payload {
                msg: key.expose(),
                aad,
            },
        )
        .unwrap()
}

/// What the service answers; `None` where it refuses.
pub(crate) fn unwrap(sidecar: &Sidecar, context: &Context) -> Option<DataKey> {
    if sidecar.key_id != KEY_ID {
        return None;
    }
    let aad = &context.to_canonical_json();
    let payload = Payload {
        msg: &sidecar.wrapped_key,
        aad,
    };
    let key = cipher().decrypt(&Nonce::default(), payload).ok()?;
    DataKey::from_slice(&key).ok()
}

pub(crate) fn sidecar(artifact: &SealedArtifact) -> Sidecar {
    artifact.wrap(KEY_ID.to_owned(), wrap(&data_key(), &artifact.context))
}

/// The whole load, as a server does it; ends with the error's code.
pub(crate) fn load(files: ArtifactFiles<'_>, key_json: &[u8]) -> Result<Opened, &'static str> {
    let verified =
        open::verify(files, &expected(), &trusted(1), NOW).map_err(|error| error.code())?;
    let sidecar = Sidecar::from_json(key_json).map_err(|error| error.code())?;
    verified
        .check_sidecar(&sidecar)
        .map_err(|error| error.code())?;
    let key = unwrap(&sidecar, verified.context()).ok_or("key_service.refused")?;
    verified.open(&key).map_err(|error| error.code())
}
