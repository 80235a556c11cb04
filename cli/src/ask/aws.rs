//! Asking an API of a deployed stack: TLS with the machine's certificates, and requests signed with IAM credentials.

use std::sync::Arc;
use std::time::SystemTime;

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::Header;
use crate::failure::Failure;

/// The service that the gateway's requests are signed for.
const SERVICE: &str = "execute-api";

/// TLS that trusts what this machine trusts.
pub(super) fn configure_tls() -> Result<TlsConfig, Failure> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let message = format!(
            "no certificate authority is trusted on this machine {}",
            errors.join("; ")
        );
        return Err(Failure::unavailable("network.no_certificates", message));
    }
    let certificates: Vec<Certificate<'static>> = found
        .certs
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build())
}

/// Headers that prove who posts `body` (AWS Signature Version 4), by the credentials and the region that the `AWS_*`
/// variables, profiles and roles say.
pub(crate) fn sign_post(url: &str, body: &[u8]) -> Result<Vec<Header>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unavailable("system.no_runtime", error.to_string()))?;
    let (credentials, region) = runtime.block_on(find_credentials())?;
    sign_at(url, body, credentials, &region, SystemTime::now())
}

async fn find_credentials() -> Result<(Credentials, String), Failure> {
    let config = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
    let region = config.region().ok_or_else(|| {
        let message = "no region to sign for: set AWS_REGION to the API's";
        Failure::usage("AWS_REGION", message)
    })?;
    let provider = config.credentials_provider().ok_or_else(no_credentials)?;
    let credentials = provider.provide_credentials().await.map_err(|error| {
        let detail = std::error::Error::source(&error).map(ToString::to_string);
        let detail = detail.unwrap_or_else(|| error.to_string());
        no_credentials().while_doing(detail)
    })?;
    Ok((credentials, region.to_string()))
}

fn no_credentials() -> Failure {
    let message = "no AWS credentials to sign with: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
    Failure::usage("--sigv4", message)
}

fn sign_at(
    url: &str,
    body: &[u8],
    credentials: Credentials,
    region: &str,
    time: SystemTime,
) -> Result<Vec<Header>, Failure> {
    let fail = |error: &dyn std::fmt::Display| {
        Failure::internal(format!("the request to {url} cannot be signed: {error}"))
    };
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| fail(&error))?
        .into();
    let headers = std::iter::empty();
    let request = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body))
        .map_err(|error| fail(&error))?;
    let (signed, _) = sign(request, &parameters)
        .map_err(|error| fail(&error))?
        .into_parts();
    Ok(signed
        .headers()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const URL: &str = "https://abc123.execute-api.eu-central-1.amazonaws.com/v1/predict";

    /// The signature of a request at 2026-01-02T03:04:05Z.
    fn authorization(token: Option<&str>, body: &[u8]) -> (String, Vec<Header>) {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            token.map(str::to_owned),
            None,
            "test",
        );
        let time = UNIX_EPOCH + Duration::from_secs(1_767_323_045);
        let headers = sign_at(URL, body, credentials, "eu-central-1", time).unwrap();
        let found = headers.iter().find(|header| header.0 == "authorization");
        (found.unwrap().1.clone(), headers)
    }

    // Signatures of botocore 1.43.106 (`botocore.auth.SigV4Auth`).
    #[test]
    fn a_request_is_signed_as_the_aws_libraries_of_another_language_sign_it() {
        let body = br#"{"symbol":"SPX"}"#;
        let (found, headers) = authorization(None, body);
        assert_eq!(
            found,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-central-1/execute-api/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=39ec54d8b31805ba83ca17d87ecf9ed5637111848f59b6c3274b08f71a9bcafb"
        );
        let date = ("x-amz-date".to_owned(), "20260102T030405Z".to_owned());
        assert!(headers.contains(&date), "{headers:?}");
        let (found, headers) = authorization(Some("session/token=="), body);
        assert!(
            found.ends_with(
                "SignedHeaders=host;x-amz-date;x-amz-security-token, \
                 Signature=d64408600bd17519a9dcce57edc239c9af135ea3a1bb397daa35512a555100ed"
            ),
            "{found}"
        );
        let token = (
            "x-amz-security-token".to_owned(),
            "session/token==".to_owned(),
        );
        assert!(headers.contains(&token), "{headers:?}");
    }

    #[test]
    fn another_body_has_another_signature() {
        assert_ne!(authorization(None, b"a").0, authorization(None, b"b").0);
    }
}
