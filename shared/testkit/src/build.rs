//! Builders of things that tests need and do not care about.

use artifact::{ModelName, ModelVersion, Sha256Digest};
use audit::event::{ModelRef, Prediction, RecordedList, Security};
use audit::seal::{SealedStream, Standing};
use audit::{
    EventBody, PublicKey, Record, SignedRegistration, Stream, StreamFault, StreamId, StreamReport,
    StreamVerifier,
};
use domain::ports::{ArtifactFiles, Entropy};
use domain::release::ReleaseFormat;
use domain::system::SystemEntropy;
use domain::{PrincipalId, Release, ReleaseId, ReleaseModel, ReleaseRole};

use crate::clock::FixedClock;
use crate::signer::TestSigner;

/// Random bytes, other ones in every run.
///
/// # Panics
/// Where the operating system has none.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemEntropy
        .fill(&mut bytes)
        .expect("the system gives random bytes");
    bytes
}

/// A model's name that nothing else has, for example `contract-0f…`.
///
/// # Panics
/// Where `prefix` does not start like a model's name.
pub fn fresh_name(prefix: &str) -> ModelName {
    let name = format!("{prefix}-{}", hex::encode(random::<8>()));
    ModelName::parse(&name).expect("a prefix of a-z, 0-9 and '-'")
}

/// The version that `text` spells.
///
/// # Panics
/// Where it spells none.
pub fn version(text: &str) -> ModelVersion {
    ModelVersion::parse(text).expect("a semantic version")
}

/// The release id with this number.
///
/// # Panics
/// For number 0.
pub fn release_id(number: u64) -> ReleaseId {
    ReleaseId::from_number(number).expect("a number above 0")
}

/// A release with one live model, `spx-direction@1.0.0`.
///
/// # Panics
/// For number 0.
pub fn release(number: u64) -> Release {
    Release {
        format: ReleaseFormat::V1,
        id: release_id(number),
        created_by: PrincipalId::parse("anna").expect("a principal"),
        created_at: "2026-01-01T00:00:00Z".to_owned(),
        models: vec![ReleaseModel {
            role: ReleaseRole::Live,
            name: ModelName::parse("spx-direction").expect("a model name"),
            version: version("1.0.0"),
            digest: Sha256Digest::of(b"spx-direction"),
        }],
    }
}

/// Four files that are no real artifact; each depends on `salt`.
pub fn artifact_files(salt: &str) -> ArtifactFiles {
    ArtifactFiles {
        manifest: format!("{{\"manifest\":\"{salt}\"}}").into_bytes(),
        sealed: format!("sealed {salt} ").repeat(1000).into_bytes(),
        packed: None,
        bundle: format!("{{\"bundle\":\"{salt}\"}}").into_bytes(),
        sidecar: format!("{{\"sidecar\":\"{salt}\"}}").into_bytes(),
    }
}

/// An event that says `subject`.
pub fn event(subject: &str) -> EventBody {
    EventBody::Security(Security {
        code: "test.event".to_owned(),
        subject: subject.to_owned(),
        detail: "written by a test".to_owned(),
    })
}

/// A prediction of `spx-direction@1.0.0` for these symbols, asked for with this request id.
pub fn prediction(request_id: &str, symbols: &[&str]) -> EventBody {
    EventBody::Prediction(Box::new(Prediction {
        answered_by: "other@2.0.0".to_owned(),
        answers: RecordedList::default(),
        changes: RecordedList::default(),
        duration_us: 1,
        explanation: None,
        failures: vec![],
        fallback_level: 0,
        fallback_model: None,
        inputs: vec![],
        outputs: vec![],
        part: 1,
        parts: 1,
        principal: "anna".to_owned(),
        release: "r-000001".to_owned(),
        request_id: request_id.to_owned(),
        requested: ModelRef {
            algo_id: "a".to_owned(),
            name: "spx-direction".to_owned(),
            sha256: "00".to_owned(),
            version: "1.0.0".to_owned(),
        },
        rows: 1,
        symbols: RecordedList {
            offset: 0,
            values: symbols.iter().map(|symbol| (*symbol).into()).collect(),
        },
    }))
}

/// A stream with its registration, signed by `TestSigner::new(1)`.
#[derive(Debug)]
pub struct TestStream {
    /// What makes records.
    pub stream: Stream,
    /// What is registered.
    pub registration: SignedRegistration,
}

impl TestStream {
    /// A stream that nothing else has.
    pub fn fresh() -> Self {
        Self::of(random(), "test")
    }

    /// The stream with this id; its key depends on the id alone. Another host is another registration.
    ///
    /// # Panics
    /// Never: every registration has a canonical form.
    pub fn of(id: [u8; 16], host: &str) -> Self {
        Self::opened_at(id, host, FixedClock::default().0)
    }

    /// The same, whose registration says another time, in microseconds since 1970.
    ///
    /// # Panics
    /// Never: every registration has a canonical form.
    pub fn opened_at(id: [u8; 16], host: &str, now_us: u64) -> Self {
        let mut key = [7; 32];
        key[..16].copy_from_slice(&id);
        let (stream, registration) = Stream::open(id, &key, host, now_us).expect("a registration");
        let registration = registration.to_bytes().expect("canonical JSON");
        let signer = TestSigner::new(1);
        let signature = signer.sign_now(&registration);
        let key_id = signer.trusted().0;
        Self {
            stream,
            registration: SignedRegistration {
                registration,
                key_id,
                signature,
            },
        }
    }

    /// The next record.
    ///
    /// # Panics
    /// Where `subject` is longer than a record may be.
    pub fn record(&mut self, subject: &str) -> Record {
        self.stream
            .record(event(subject), FixedClock::default().0)
            .expect("a record")
    }

    /// The next `count` records.
    pub fn records(&mut self, count: usize) -> Vec<Record> {
        (0..count)
            .map(|number| self.record(&format!("subject {number}")))
            .collect()
    }
}

/// The state of a stream, sealed up to a tree of this size, of which further events are expected.
pub fn open_state(stream: StreamId, tree_size: u64) -> SealedStream {
    SealedStream {
        end: None,
        head: None,
        last_sealed_us: 1_767_225_600_123_456 + tree_size,
        next_seq: tree_size / 2,
        reported_through: None,
        standing: Standing::Registered {
            index: 7,
            public_key: PublicKey([9; 32]),
        },
        stream,
        tree_size,
    }
}

/// Verifies a whole stream that `TestSigner::new(1)` vouches for.
///
/// # Errors
/// The first [`StreamFault`].
pub fn verify(
    registration: &SignedRegistration,
    records: &[Record],
) -> Result<StreamReport, StreamFault> {
    let mut verifier = StreamVerifier::new(registration, &[TestSigner::new(1).trusted()])?;
    for record in records {
        verifier.check(record)?;
    }
    Ok(verifier.report().clone())
}
