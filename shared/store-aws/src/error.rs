//! What a service's error means: whether another attempt may help, and which [`StoreError`] it becomes.

use std::error::Error;
use std::io;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use domain::StoreError;

/// What a failed attempt means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Another attempt may succeed; this one changed nothing.
    Again,
    /// Another attempt may succeed; this one may have been applied.
    AgainInDoubt,
    /// The service has decided.
    Final,
}

/// Too many calls, or two at once over the same thing: nothing was changed.
const THROTTLED: [&str; 16] = [
    "ConditionalRequestConflict",
    "KeyUnavailableException",
    "OperationAborted",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingError",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// The service failed; a write may have been applied.
const FAILED: [&str; 11] = [
    "DependencyTimeoutException",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalServerErrorException",
    "KMSInternalException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
];

/// The error's code as the service names it.
pub(crate) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(|error| error.code())
}

/// The answer's HTTP status.
pub(crate) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error
        .raw_response()
        .map(|response| response.status().as_u16())
}

/// What the failure of an attempt means.
pub(crate) fn judge<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Verdict {
    match error {
        SdkError::ConstructionFailure(_) => Verdict::Final,
        SdkError::ServiceError(_) => judge_answer(code(error), status(error)),
        SdkError::DispatchFailure(failure)
            if failure
                .as_connector_error()
                .is_some_and(|error| was_never_connected(error)) =>
        {
            Verdict::Again
        }
        _ => Verdict::AgainInDoubt,
    }
}

fn judge_answer(code: Option<&str>, status: Option<u16>) -> Verdict {
    match (code, status) {
        (Some(code), _) if THROTTLED.contains(&code) => Verdict::Again,
        (_, Some(429)) => Verdict::Again,
        (Some(code), _) if FAILED.contains(&code) => Verdict::AgainInDoubt,
        (_, Some(500..)) => Verdict::AgainInDoubt,
        _ => Verdict::Final,
    }
}

/// Whether nothing can have been sent, because there was no connection.
fn was_never_connected(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable,
    };
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                ConnectionRefused
                    | HostUnreachable
                    | NetworkUnreachable
                    | NetworkDown
                    | AddrNotAvailable
            )
        }) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// As [`judge`], for a transaction: one that lost against another is tried again, one whose condition failed is not.
#[cfg(feature = "dynamodb")]
pub(crate) fn judge_transaction(
    error: &SdkError<
        aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError,
        HttpResponse,
    >,
) -> Verdict {
    use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
        error.as_service_error()
    else {
        return judge(error);
    };
    let reasons = cancelled.cancellation_reasons();
    judge_reasons(reasons.iter().filter_map(|reason| reason.code()))
}

/// What the codes of a cancelled transaction mean together: a condition that failed decides.
#[cfg(feature = "dynamodb")]
fn judge_reasons<'a>(codes: impl Iterator<Item = &'a str>) -> Verdict {
    let mut verdict = Verdict::Final;
    for code in codes {
        match code {
            "None" => {}
            "TransactionConflict" | "ProvisionedThroughputExceeded" | "ThrottlingError" => {
                verdict = Verdict::Again;
            }
            _ => return Verdict::Final,
        }
    }
    verdict
}

/// The port's error for what ended a call. `in_doubt`: an attempt may have been applied.
pub(crate) fn to_store<E: ProvideErrorMetadata>(
    what: &str,
    error: &SdkError<E, HttpResponse>,
    in_doubt: bool,
) -> StoreError {
    let text = format!("{what}: {}", describe(error));
    if in_doubt {
        return StoreError::OutcomeUnknown(text);
    }
    if !matches!(error, SdkError::ServiceError(_)) {
        return StoreError::Unavailable(text);
    }
    of_answer(code(error), status(error), text)
}

fn of_answer(code: Option<&str>, status: Option<u16>, text: String) -> StoreError {
    match (code, status) {
        (
            Some(
                "NoSuchKey"
                | "NotFound"
                | "NotFoundException"
                | "DisabledException"
                | "InvalidArnException"
                | "KMSInvalidStateException",
            ),
            _,
        )
        | (None, Some(404)) => StoreError::NotFound(text),
        (
            Some(
                "IncorrectKeyException" | "InvalidCiphertextException" | "InvalidKeyUsageException",
            ),
            _,
        ) => StoreError::Corrupt(text),
        (
            Some(
                "ConditionalCheckFailedException"
                | "ConditionalRequestConflict"
                | "PreconditionFailed"
                | "PreconditionFailedException"
                | "ResourceConflictException"
                | "TransactionCanceledException",
            ),
            _,
        )
        | (_, Some(409 | 412)) => StoreError::Conflict(text),
        (Some("AccessDenied" | "AccessDeniedException"), _) => StoreError::Denied(text),
        (Some("EntityTooLarge"), _) | (_, Some(413)) => StoreError::TooLarge(text),
        _ => StoreError::Unavailable(text),
    }
}

/// Code and message of a service's error; of any other the whole chain of causes.
fn describe<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> String {
    if let Some(said) = error.as_service_error() {
        let status = || {
            status(error).map_or_else(
                || "an error".to_owned(),
                |status| format!("status {status}"),
            )
        };
        let code = said.code().map_or_else(status, str::to_owned);
        return match said.message() {
            Some(message) => format!("{code}: {message}"),
            None => code,
        };
    }
    let (kind, mut cause): (_, Option<&(dyn Error + 'static)>) = match error {
        SdkError::ConstructionFailure(_) => ("the request could not be made", None),
        SdkError::TimeoutError(_) => ("no answer in time", None),
        SdkError::DispatchFailure(failure) => (
            "no answer",
            failure
                .as_connector_error()
                .map(|error| error as &(dyn Error + 'static)),
        ),
        _ => ("the answer cannot be read", None),
    };
    let mut text = kind.to_owned();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    fn dispatch(kind: io::ErrorKind) -> SdkError<ErrorMetadata, HttpResponse> {
        SdkError::dispatch_failure(ConnectorError::io(io::Error::from(kind).into()))
    }

    #[test]
    fn only_what_was_never_connected_leaves_no_doubt() {
        assert_eq!(
            judge(&dispatch(io::ErrorKind::ConnectionRefused)),
            Verdict::Again
        );
        for kind in [
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::TimedOut,
        ] {
            assert_eq!(judge(&dispatch(kind)), Verdict::AgainInDoubt, "{kind}");
        }
    }

    #[test]
    fn the_causes_of_a_failed_dispatch_are_named() {
        let error = dispatch(io::ErrorKind::ConnectionRefused);
        let StoreError::Unavailable(text) = to_store("read x", &error, false) else {
            panic!("expected unavailable")
        };
        assert_eq!(text, "read x: no answer: io error: connection refused");
        assert!(matches!(
            to_store("read x", &error, true),
            StoreError::OutcomeUnknown(_)
        ));
    }

    #[test]
    fn answers_of_all_services_become_the_same_few_errors() {
        let of = |code, status| of_answer(Some(code), Some(status), String::new());
        let text = String::new;
        for (code, status, expected) in [
            ("NoSuchKey", 404, StoreError::NotFound(text())),
            ("NotFoundException", 400, StoreError::NotFound(text())),
            ("DisabledException", 400, StoreError::NotFound(text())),
            (
                "KMSInvalidStateException",
                400,
                StoreError::NotFound(text()),
            ),
            (
                "InvalidCiphertextException",
                400,
                StoreError::Corrupt(text()),
            ),
            ("IncorrectKeyException", 400, StoreError::Corrupt(text())),
            ("PreconditionFailed", 412, StoreError::Conflict(text())),
            (
                "ConditionalCheckFailedException",
                400,
                StoreError::Conflict(text()),
            ),
            (
                "ResourceConflictException",
                409,
                StoreError::Conflict(text()),
            ),
            ("AccessDeniedException", 400, StoreError::Denied(text())),
            ("AccessDenied", 403, StoreError::Denied(text())),
            // A table or a bucket that is gone is no answer about what is in it.
            (
                "ResourceNotFoundException",
                400,
                StoreError::Unavailable(text()),
            ),
            ("NoSuchBucket", 404, StoreError::Unavailable(text())),
            ("ValidationException", 400, StoreError::Unavailable(text())),
            ("EntityTooLarge", 400, StoreError::TooLarge(text())),
        ] {
            assert_eq!(of(code, status), expected, "{code}");
        }
        assert_eq!(
            of_answer(None, Some(404), text()),
            StoreError::NotFound(text()),
            "a HEAD has no body that could name a code"
        );
    }

    #[test]
    fn throttling_and_failures_of_the_service_are_tried_again() {
        for (code, status, expected) in [
            (
                "ProvisionedThroughputExceededException",
                400,
                Verdict::Again,
            ),
            ("ThrottlingException", 400, Verdict::Again),
            ("SlowDown", 503, Verdict::Again),
            ("TransactionConflictException", 400, Verdict::Again),
            ("InternalServerError", 500, Verdict::AgainInDoubt),
            ("ServiceUnavailable", 503, Verdict::AgainInDoubt),
            ("Whatever", 502, Verdict::AgainInDoubt),
            ("ConditionalCheckFailedException", 400, Verdict::Final),
            ("AccessDeniedException", 400, Verdict::Final),
            ("ValidationException", 400, Verdict::Final),
            ("InvalidCiphertextException", 400, Verdict::Final),
        ] {
            assert_eq!(judge_answer(Some(code), Some(status)), expected, "{code}");
        }
    }

    #[cfg(feature = "dynamodb")]
    #[test]
    fn a_transaction_that_lost_is_tried_again_unless_a_condition_failed() {
        let judge = |codes: &[&str]| judge_reasons(codes.iter().copied());
        assert_eq!(judge(&["None", "TransactionConflict"]), Verdict::Again);
        assert_eq!(judge(&["ThrottlingError"]), Verdict::Again);
        assert_eq!(
            judge(&["TransactionConflict", "ConditionalCheckFailed"]),
            Verdict::Final
        );
        assert_eq!(judge(&["ValidationError"]), Verdict::Final);
        assert_eq!(judge(&[]), Verdict::Final);
    }
}
