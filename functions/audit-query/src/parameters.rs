//! The parameters of a request: each known, and at most once.

use std::collections::BTreeMap;

use web::ApiError;

/// What stands behind the `?`.
#[derive(Debug)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads a query string. A parameter that is not `known` would change nothing unseen, so it is refused.
    ///
    /// # Errors
    /// 400 `query.parameter_unknown` or `query.parameter_repeated`.
    pub(crate) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let mut found = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let shown: String = name.chars().take(60).collect();
            if !known.contains(&&*name) {
                let message = if known.is_empty() {
                    format!("there is no parameter {shown:?}: this path takes none")
                } else {
                    format!(
                        "there is no parameter {shown:?}: expected one of {}",
                        known.join(", ")
                    )
                };
                let code = "query.parameter_unknown";
                return Err(ApiError::bad_field(code, shown, message));
            }
            if found
                .insert(name.into_owned(), value.into_owned())
                .is_some()
            {
                let message = "the parameter stands there twice: expected it once";
                let code = "query.parameter_repeated";
                return Err(ApiError::bad_field(code, shown, message));
            }
        }
        Ok(Self(found))
    }

    /// The parameter's value, where it is there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
