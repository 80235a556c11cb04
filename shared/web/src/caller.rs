//! Who calls. The host (an authorizer's context, a token file) puts a
//! [`Principal`] or an [`AuthFailure`] into the request; handlers ask for a [`Caller`].

use axum::extract::FromRequestParts;
use domain::{Principal, Role};
use http::StatusCode;
use http::request::Parts;

use crate::error::ApiError;

/// The host could not tell who calls, although credentials were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthFailure;

/// An authenticated caller; without one the request is refused with 401.
#[derive(Debug, Clone)]
pub struct Caller(pub Principal);

impl Caller {
    /// Refuses callers without the role.
    ///
    /// # Errors
    /// 403 `auth.role_missing`.
    pub fn must_be(&self, role: Role) -> Result<(), ApiError> {
        if self.0.has(role) {
            return Ok(());
        }
        let message = format!("this needs the role {}", role.name());
        Err(role_missing(message))
    }
}

/// 403 `auth.role_missing`: the caller is known, and may not.
pub fn role_missing(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "auth.role_missing", message).as_security_event()
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        if let Some(principal) = parts.extensions.get::<Principal>() {
            return Ok(Self(principal.clone()));
        }
        let error = if parts.extensions.get::<AuthFailure>().is_some() {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "auth.invalid",
                "the credentials are not valid",
            )
        } else {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "auth.missing",
                "credentials are missing: expected an Authorization header",
            )
        };
        Err(error.as_security_event())
    }
}
