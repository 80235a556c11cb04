//! Asking an API of a deployed stack: TLS with the machine's certificates, and requests signed with IAM credentials.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::Header;
use crate::failure::Failure;
use crate::identity::{Identity, find_identity};

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

/// Credentials that end sooner than this are asked for again.
const MARGIN: Duration = Duration::from_mins(1);

/// Signs many requests with the credentials that it found once, for as long as they last.
#[derive(Default)]
pub(super) struct RequestSigner {
    found: Mutex<Option<Identity>>,
}

impl RequestSigner {
    /// Headers that prove who reads `url`.
    pub(super) fn sign_get(&self, url: &str) -> Result<Vec<Header>, Failure> {
        let now = SystemTime::now();
        // Only replaced as a whole: a panic elsewhere leaves it right.
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let lasts = |identity: &Identity| {
            let end = identity.credentials.expiry();
            end.is_none_or(|end| end > now + MARGIN)
        };
        let identity = match found.clone().filter(lasts) {
            Some(identity) => identity,
            None => wait_for_identity()?,
        };
        *found = Some(identity.clone());
        drop(found);
        sign_at("GET", url, &[], identity, now)
    }
}

fn wait_for_identity() -> Result<Identity, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unavailable("system.no_runtime", error.to_string()))?;
    runtime.block_on(find_identity())
}

/// Headers that prove who posts `body` (AWS Signature Version 4), by the credentials and the region that the `AWS_*`
/// variables, profiles and roles say.
pub(crate) fn sign_post(url: &str, body: &[u8]) -> Result<Vec<Header>, Failure> {
    sign_at("POST", url, body, wait_for_identity()?, SystemTime::now())
}

fn sign_at(
    method: &str,
    url: &str,
    body: &[u8],
    by: Identity,
    time: SystemTime,
) -> Result<Vec<Header>, Failure> {
    let fail = |error: &dyn std::fmt::Display| {
        Failure::internal(format!("the request to {url} cannot be signed: {error}"))
    };
    let identity = by.credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(&by.region)
        .name(SERVICE)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| fail(&error))?
        .into();
    let headers = std::iter::empty();
    let request = SignableRequest::new(method, url, headers, SignableBody::Bytes(body))
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
    use aws_credential_types::Credentials;
    use std::time::UNIX_EPOCH;

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
        let by = Identity {
            credentials,
            region: "eu-central-1".to_owned(),
        };
        let headers = sign_at("POST", URL, body, by, time).unwrap();
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
