//! The committed vectors: the container's were written by another implementation, the artifact is kept so that
//! what was sealed once opens for ever.

use artifact::container::{self, ChunkOpener, HEADER_SIZE};
use artifact::{
    ArtifactFiles, DataKey, ModelName, ModelVersion, PublicKey, Salt, Sha256Digest, Sidecar,
    TrustedKey, open,
};
use serde::Deserialize;

use crate::support::{NOW, unwrap};

#[derive(Deserialize)]
struct Vectors {
    format: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    key: String,
    salt: String,
    context: String,
    plain_length: usize,
    sealed_length: usize,
    sealed_sha256: String,
    sealed: Option<String>,
}

fn plain_of(len: usize) -> Vec<u8> {
    (0..len).map(|i| (7 * i + i / 251) as u8).collect()
}

#[test]
fn the_container_vectors_are_met_to_the_byte() {
    let vectors: Vectors =
        serde_json::from_slice(include_bytes!("../vectors/container.json")).unwrap();
    assert_eq!(vectors.format, "sealcast.container-vectors/v1");
    assert_eq!(vectors.cases.len(), 10);
    for case in vectors.cases {
        let key = DataKey::from_slice(&hex::decode(&case.key).unwrap()).unwrap();
        let salt = Salt(hex::decode(&case.salt).unwrap().try_into().unwrap());
        let (context, plain) = (case.context.as_bytes(), plain_of(case.plain_length));
        let sealed = container::encrypt(&key, &salt, context, &plain).unwrap();
        assert_eq!(sealed.len(), case.sealed_length);
        assert_eq!(
            Sha256Digest::of(&sealed).to_string(),
            case.sealed_sha256,
            "{} bytes",
            case.plain_length
        );
        if let Some(expected) = case.sealed {
            assert_eq!(hex::encode(&sealed), expected);
        }
        assert_eq!(*container::decrypt(&key, context, &sealed).unwrap(), plain);
        let opener =
            ChunkOpener::unlock(&key, context, &sealed[..HEADER_SIZE], sealed.len() as u64)
                .unwrap();
        assert_eq!(opener.plain_len(), case.plain_length as u64);
    }
}

#[derive(Deserialize)]
struct Facts {
    data_key: String,
    name: String,
    version: String,
    onnx_sha256: String,
}

#[test]
fn the_committed_artifact_opens() {
    let files = ArtifactFiles {
        manifest_json: include_bytes!("../vectors/artifact/manifest.json"),
        sealed: Some(include_bytes!("../vectors/artifact/model.onnx.sealed")),
        packed: None,
        bundle: include_bytes!("../vectors/artifact/model.sig"),
    };
    let facts: Facts = serde_json::from_slice(include_bytes!("../vectors/artifact.json")).unwrap();
    let public_key = PublicKey::from_pem(include_str!("../vectors/artifact.pub.pem")).unwrap();
    let expected = (
        ModelName::parse(&facts.name).unwrap(),
        ModelVersion::parse(&facts.version).unwrap(),
    );
    let verified = open::verify(files, &expected, &[TrustedKey::always(public_key)], NOW).unwrap();
    let sidecar = Sidecar::from_json(include_bytes!("../vectors/artifact/key.json")).unwrap();
    verified.check_sidecar(&sidecar).unwrap();
    let key = unwrap(&sidecar, verified.context()).unwrap();
    assert_eq!(hex::encode(key.expose()), facts.data_key);
    let onnx = verified.open(&key).unwrap().onnx;
    assert_eq!(Sha256Digest::of(&onnx).to_string(), facts.onnx_sha256);
    assert_eq!(onnx.len(), 2446);
}
