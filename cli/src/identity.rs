//! Who this process is for AWS: credentials and region, as the `AWS_*` variables, profiles and roles say.

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;

use crate::failure::Failure;

/// Credentials, and the region that requests are signed for.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) credentials: Credentials,
    pub(crate) region: String,
}

/// Finds both; without either nothing can be asked of AWS.
pub(crate) async fn find_identity() -> Result<Identity, Failure> {
    let config = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
    let region = config.region().ok_or_else(|| {
        let message = "no AWS region: set AWS_REGION, or AWS_PROFILE to a profile that has one";
        Failure::usage("AWS_REGION", message)
    })?;
    let provider = config
        .credentials_provider()
        .ok_or_else(|| no_credentials("no provider"))?;
    let credentials = provider.provide_credentials().await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        no_credentials(&cause.unwrap_or_else(|| error.to_string()))
    })?;
    Ok(Identity {
        credentials,
        region: region.to_string(),
    })
}

fn no_credentials(cause: &str) -> Failure {
    // The chain of providers tells what each said on a line of its own.
    let cause: Vec<&str> = cause.split_whitespace().collect();
    let message = format!(
        "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY ({})",
        cause.join(" ")
    );
    Failure::usage("AWS_PROFILE", message)
}
