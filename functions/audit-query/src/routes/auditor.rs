//! Who asks: an auditor, and which request it is.

use axum::extract::{FromRequestParts, MatchedPath};
use domain::{PrincipalId, RequestId, Role};
use http::request::Parts;
use web::{ApiError, Caller, RequestInfo};

/// A caller with the role `auditor`; without it the request is refused with 401 or 403.
#[derive(Debug, Clone)]
pub(crate) struct Auditor {
    /// Who.
    pub(crate) principal: PrincipalId,
    /// Which request.
    pub(crate) request_id: RequestId,
    /// Method and path pattern.
    pub(crate) route: String,
}

impl<S: Sync> FromRequestParts<S> for Auditor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.must_be(Role::Auditor)?;
        let info = parts.extensions.get::<RequestInfo>();
        let request_id = info.ok_or_else(ApiError::internal)?.id.clone();
        let path = parts.extensions.get::<MatchedPath>();
        let path = path.map_or_else(|| parts.uri.path(), MatchedPath::as_str);
        Ok(Self {
            principal: caller.0.id,
            request_id,
            route: format!("{} {path}", parts.method),
        })
    }
}
