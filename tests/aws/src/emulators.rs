//! The emulators that `make test` starts, found by environment variables.

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use store_aws::{Connection, Endpoints};

/// A server that speaks for one or more AWS services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emulator {
    /// S3, KMS signing keys, `DynamoDB`, Lambda.
    Ministack,
    /// `DynamoDB` as AWS itself emulates it: conditions, transactions, concurrency.
    DynamodbLocal,
    /// Symmetric KMS keys.
    Roto,
}

impl Emulator {
    /// Its URL.
    ///
    /// # Panics
    /// Where it was not started: an emulator that is missing is a failure, never a test left out.
    pub fn url(self) -> String {
        let name = match self {
            Self::Ministack => "SEALCAST_TEST_MINISTACK",
            Self::DynamodbLocal => "SEALCAST_TEST_DYNAMODB_LOCAL",
            Self::Roto => "SEALCAST_TEST_KMS",
        };
        std::env::var(name).unwrap_or_else(|_| {
            panic!("{name} is not set: run `make test`, or this test under tests/stack/run.sh")
        })
    }

    /// What the SDK needs to reach it.
    pub async fn config(self) -> SdkConfig {
        aws_config::defaults(BehaviorVersion::v2026_01_12())
            .endpoint_url(self.url())
            .retry_config(RetryConfig::standard())
            .load()
            .await
    }
}

/// A connection to the emulators, each service to the one that speaks for it best. Like the others here it has more
/// time than a request: what is asked is whether a promise is kept, not whether an emulator on a busy machine is fast.
pub async fn connect() -> Connection {
    Connection::to(&endpoints()).await.unhurried()
}

/// Where each service is: tables in `DynamoDB` Local, data keys in roto, everything else in ministack.
pub fn endpoints() -> Endpoints {
    Endpoints {
        s3: Some(Emulator::Ministack.url()),
        kms: Some(Emulator::Roto.url()),
        dynamodb: Some(Emulator::DynamodbLocal.url()),
        lambda: Some(Emulator::Ministack.url()),
    }
}

/// A connection whose tables are in this emulator.
pub async fn connect_tables(emulator: Emulator) -> Connection {
    let endpoints = Endpoints {
        dynamodb: Some(emulator.url()),
        ..endpoints()
    };
    Connection::to(&endpoints).await.unhurried()
}

/// A connection whose keys are in this emulator.
pub async fn connect_keys(emulator: Emulator) -> Connection {
    let endpoints = Endpoints {
        kms: Some(emulator.url()),
        ..endpoints()
    };
    Connection::to(&endpoints).await.unhurried()
}
