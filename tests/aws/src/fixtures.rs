//! Fresh buckets, keys and functions.

use aws_sdk_kms::types::{KeySpec, KeyUsageType};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, Runtime};
use aws_sdk_s3::types::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode,
    ObjectLockRule,
};
use bytes::Bytes;
use testkit::build::random;

use crate::emulators::Emulator;
use crate::proxy::forward;

/// A name that nothing else has, for example `audit-0f…`.
pub fn fresh(prefix: &str) -> String {
    format!("{prefix}-{}", hex::encode(random::<8>()))
}

/// The client of ministack's S3.
pub async fn s3() -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(&Emulator::Ministack.config().await);
    aws_sdk_s3::Client::from_conf(config.force_path_style(true).build())
}

/// Creates a bucket; gives its name.
///
/// # Panics
/// Where ministack refuses.
pub async fn create_bucket() -> String {
    let name = fresh("models");
    let created = s3().await.create_bucket().bucket(&name).send().await;
    created.expect("a bucket");
    name
}

/// Creates a bucket whose objects can be retained; gives its name.
///
/// # Panics
/// Where ministack refuses.
pub async fn create_log_bucket() -> String {
    let name = fresh("log");
    let created = s3().await.create_bucket().bucket(&name);
    let created = created.object_lock_enabled_for_bucket(true).send().await;
    created.expect("a bucket");
    name
}

/// Creates a bucket that locks whatever it gets for so many days, in compliance mode; gives its name.
///
/// # Panics
/// Where ministack refuses.
pub async fn create_locking_bucket(days: i32) -> String {
    let name = create_log_bucket().await;
    let retention = DefaultRetention::builder().mode(ObjectLockRetentionMode::Compliance);
    let rule = ObjectLockRule::builder().default_retention(retention.days(days).build());
    let lock = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .rule(rule.build())
        .build();
    let put = s3().await.put_object_lock_configuration().bucket(&name);
    let put = put.object_lock_configuration(lock).send().await;
    put.expect("a default retention");
    name
}

/// The client of an emulator's keys.
pub async fn kms(emulator: Emulator) -> aws_sdk_kms::Client {
    aws_sdk_kms::Client::new(&emulator.config().await)
}

/// Creates a symmetric key; gives its ARN.
pub async fn create_data_key(emulator: Emulator) -> String {
    create_key(
        emulator,
        KeySpec::SymmetricDefault,
        KeyUsageType::EncryptDecrypt,
    )
    .await
}

/// Creates an Ed25519 key that signs; gives its ARN.
pub async fn create_stream_key() -> String {
    let spec = KeySpec::EccNistEdwards25519;
    create_key(Emulator::Ministack, spec, KeyUsageType::SignVerify).await
}

/// Creates a P-256 key that signs; gives its ARN.
pub async fn create_model_signing_key() -> String {
    let spec = KeySpec::EccNistP256;
    create_key(Emulator::Ministack, spec, KeyUsageType::SignVerify).await
}

async fn create_key(emulator: Emulator, spec: KeySpec, usage: KeyUsageType) -> String {
    let create = kms(emulator).await.create_key();
    let created = create.key_spec(spec).key_usage(usage).send().await;
    let metadata = created.expect("a key").key_metadata.expect("a key's data");
    metadata.arn.expect("an ARN")
}

/// The client of ministack's Lambda.
pub async fn lambda() -> aws_sdk_lambda::Client {
    aws_sdk_lambda::Client::new(&Emulator::Ministack.config().await)
}

/// Creates a function that is never called, with one variable in its environment; gives its name.
///
/// # Panics
/// Where ministack refuses.
pub async fn create_function() -> String {
    let name = fresh("predict");
    let create = lambda().await.create_function();
    let created = create
        .function_name(&name)
        .runtime(Runtime::Providedal2023)
        .handler("bootstrap")
        .role(create_role().await)
        .environment(Environment::builder().variables("KEPT", "as it is").build())
        .code(
            FunctionCode::builder()
                .zip_file(Blob::new(zip_of_one("bootstrap", b"#!/bin/sh\nexit 1\n")))
                .build(),
        )
        .send()
        .await;
    created.expect("a function");
    name
}

/// Creates a role that may do nothing, for functions that are never called; gives its ARN.
///
/// One form field more or less is all that there is to say, so IAM's client is not worth its compilation. ministack
/// reads who asks from the header and does not check the signature.
async fn create_role() -> String {
    let (name, url) = (fresh("nobody"), Emulator::Ministack.url());
    let form = format!(
        "Action=CreateRole&Version=2010-05-08&RoleName={name}&AssumeRolePolicyDocument=%7B%7D"
    );
    let request = http::Request::post("/")
        .header("host", url.trim_start_matches("http://"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, \
             SignedHeaders=host, Signature=00",
        )
        .body(Bytes::from(form))
        .expect("a request");
    let (head, body) = request.into_parts();
    let address = url.trim_start_matches("http://").to_owned();
    let (head, body) = forward(head, body, address).await.expect("an answer");
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(head.status.is_success(), "{}: {body}", head.status);
    format!("arn:aws:iam::000000000000:role/{name}")
}

/// A ZIP archive of one stored file (PKWARE APPNOTE 6.3: local header, central directory, end record).
fn zip_of_one(name: &str, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a small file");
    let name_length = u16::try_from(name.len()).expect("a short name");
    // What the local header and the central directory share: version to extract .. length of the extra field.
    let mut shared = Vec::new();
    for field in [20_u16, 0, 0, 0, 0x21] {
        shared.extend_from_slice(&field.to_le_bytes());
    }
    for field in [crc32(content), length, length] {
        shared.extend_from_slice(&field.to_le_bytes());
    }
    for field in [name_length, 0] {
        shared.extend_from_slice(&field.to_le_bytes());
    }
    let local = [b"PK\x03\x04", shared.as_slice(), name.as_bytes(), content].concat();
    let made_by_unix = [20, 3];
    // No comment, disk 0, no internal attributes, a regular file 0755, at offset 0.
    let mut rest = vec![0; 6];
    rest.extend_from_slice(&(0o100_755_u32 << 16).to_le_bytes());
    rest.extend_from_slice(&[0; 4]);
    let central = [
        b"PK\x01\x02",
        made_by_unix.as_slice(),
        &shared,
        &rest,
        name.as_bytes(),
    ]
    .concat();
    let mut end = b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec();
    for size in [central.len(), local.len()] {
        end.extend_from_slice(&u32::try_from(size).expect("a small archive").to_le_bytes());
    }
    end.extend_from_slice(&[0; 2]);
    [local, central, end].concat()
}

/// CRC-32 as ZIP has it (reflected polynomial 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
