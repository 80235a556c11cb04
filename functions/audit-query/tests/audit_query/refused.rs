use axum::body::Body;
use http::Request;

use crate::support::{auditors, site};

const STREAM: &str = "01010101010101010101010101010101";

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_with_the_parameter_and_what_is_expected() {
    let site = site();
    let long = "x".repeat(129);
    for (query, code, field, expected) in [
        (
            "symbl=SPX",
            "query.parameter_unknown",
            "symbl",
            "expected one of from, until, symbol, model",
        ),
        ("&=1", "query.parameter_unknown", "", "expected one of"),
        (
            "kind=query&kind=query",
            "query.parameter_repeated",
            "kind",
            "twice",
        ),
        (
            "from=yesterday",
            "query.time_invalid",
            "from",
            "2026-11-22T13:00:00Z",
        ),
        ("from=", "query.time_invalid", "from", "RFC 3339"),
        (
            "from=2026-01-01T00:00:00+01:00",
            "query.time_invalid",
            "from",
            "UTC",
        ),
        (
            "until=2026-01-01T00:00:00-05:00",
            "query.time_invalid",
            "until",
            "UTC",
        ),
        (
            "from=2025-12-31T23:00:00Z&until=2025-12-31T22:00:00Z",
            "query.range_empty",
            "from",
            "before until, 2025-12-31T22:00:00.000000Z",
        ),
        ("symbol=%FF", "query.symbol_invalid", "symbol", "expected"),
        ("symbol=S%0AX", "query.symbol_invalid", "symbol", "expected"),
        ("symbol=%zz", "query.symbol_invalid", "symbol", "expected"),
        ("Symbol=SPX", "query.parameter_unknown", "Symbol", "symbol"),
        (
            "symbol=SPX&symb%6Fl=NDX",
            "query.parameter_repeated",
            "symbol",
            "twice",
        ),
        (
            "until=2026-01-01",
            "query.time_invalid",
            "until",
            "RFC 3339",
        ),
        (
            "until=2026-01-01T00:00:00%2B01:00",
            "query.time_invalid",
            "until",
            "UTC",
        ),
        (
            "from=1969-12-31T23:59:59Z",
            "query.time_invalid",
            "from",
            "1970",
        ),
        (
            "from=2026-02-30T00:00:00Z",
            "query.time_invalid",
            "from",
            "RFC 3339",
        ),
        (
            "from=2026-01-01T00:00:00Z&until=2026-01-01T00:00:00Z",
            "query.range_empty",
            "from",
            "before until, 2026-01-01T00:00:00.000000Z",
        ),
        (
            "from=2026-01-02T00:00:00Z",
            "query.range_empty",
            "from",
            "before now, 2026-01-01T00:00:00.000000Z",
        ),
        (
            "from=2025-12-30T23:00:00Z",
            "query.range_too_wide",
            "until",
            "at most 1 day can be asked for at once: pass until=2025-12-31T23:00:00.000000Z, or symbol or model (at most 31 days), or request_id (any range)",
        ),
        (
            "from=2025-12-28T23:59:59.999995Z",
            "query.range_too_wide",
            "until",
            "until 2026-01-01T00:00:00.000000Z is more than 3 days; without",
        ),
        (
            "from=2025-12-30T23:58:59Z",
            "query.range_too_wide",
            "until",
            "is more than 1 day; without",
        ),
        (
            "symbol=SPX&from=2025-11-01T00:00:00Z",
            "query.range_too_wide",
            "until",
            "by symbol or model at most 31 days",
        ),
        (
            "model=a@1.0.0&from=2025-11-01T00:00:00Z",
            "query.range_too_wide",
            "until",
            "pass until=2025-12-02T00:00:00.000000Z, or request_id (any range)",
        ),
        (
            "symbol=spx%20x",
            "query.symbol_invalid",
            "symbol",
            "expected",
        ),
        ("symbol=", "query.symbol_invalid", "symbol", "expected"),
        (
            "model=spx-direction",
            "query.model_invalid",
            "model",
            "name@version",
        ),
        (
            "model=spx-direction@1",
            "query.model_invalid",
            "model",
            "spx-direction@1.0.0",
        ),
        (
            "model=@1.0.0",
            "query.model_invalid",
            "model",
            "name@version",
        ),
        (
            &format!("request_id={long}"),
            "query.request_id_invalid",
            "request_id",
            "1 to 128 visible",
        ),
        (
            "request_id=a%20b",
            "query.request_id_invalid",
            "request_id",
            "visible ASCII",
        ),
        (
            "kind=predictions",
            "query.kind_unknown",
            "kind",
            "expected one of process_started, process_stopped, prediction",
        ),
        (
            "limit=0",
            "query.limit_out_of_range",
            "limit",
            "1 to 1000, or with format ndjson or csv 1 to 10000",
        ),
        (
            "limit=1001",
            "query.limit_out_of_range",
            "limit",
            "1 to 1000",
        ),
        (
            "limit=10001&format=csv",
            "query.limit_out_of_range",
            "limit",
            "1 to 10000",
        ),
        ("limit=-1", "query.limit_out_of_range", "limit", "1 to 1000"),
        (
            "limit=ten",
            "query.limit_out_of_range",
            "limit",
            "1 to 1000",
        ),
        (
            "limit=99999999999999999999",
            "query.limit_out_of_range",
            "limit",
            "1 to 1000",
        ),
        (
            "format=xml",
            "query.format_unknown",
            "format",
            "json, ndjson or csv",
        ),
        (
            "cursor=abc",
            "query.cursor_invalid",
            "cursor",
            "Sealcast-Next",
        ),
        ("cursor=", "query.cursor_invalid", "cursor", "unchanged"),
    ] {
        let reply = site.get(&format!("/v1/audit/events?{query}")).await;
        assert_eq!(reply.error(), (400, code.to_owned()), "{query}");
        let json = reply.json();
        assert_eq!(json["field"].as_str().unwrap_or_default(), field, "{query}");
        let error = json["error"].as_str().unwrap();
        assert!(error.contains(expected), "{query}: {error}");
        let refusal = site.refusals().await.pop().unwrap();
        assert_eq!((&*refusal.code, refusal.status), (code, 400));
        assert_eq!(refusal.principal.as_deref(), Some("anna"));
        assert_eq!(refusal.route, "GET /v1/audit/events");
    }
    assert_eq!(site.queries().await, []);
}

#[tokio::test]
async fn a_media_type_that_is_none_of_ours_is_406() {
    let site = site();
    let request = auditors("/v1/audit/events").header("accept", "text/html");
    let reply = site.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.error(), (406, "query.not_acceptable".to_owned()));
    assert_eq!(reply.json()["field"], "Accept");
}

#[tokio::test]
async fn limits_at_their_bounds_are_taken() {
    let site = site();
    for query in [
        "limit=1",
        "limit=1000",
        "limit=10000&format=ndjson",
        "from=2025-12-31T00:00:00Z",
        // A day before the caller's now, which is not that of here.
        "from=2025-12-30T23:59:00Z",
        "symbol=SPX&from=2025-12-01T00:00:00Z",
        "request_id=a&from=1970-01-01T00:00:00Z&until=9999-12-31T23:59:59Z",
    ] {
        site.ok(&format!("/v1/audit/events?{query}")).await;
    }
}

#[tokio::test]
async fn paths_that_name_nothing_are_refused_by_what_they_should_name() {
    let site = site();
    let upper = "0A".repeat(16);
    for (path, status, code, field) in [
        (
            format!("/v1/audit/events/{upper}/0"),
            400,
            "query.stream_invalid",
            "stream",
        ),
        (
            "/v1/audit/events/1/0".to_owned(),
            400,
            "query.stream_invalid",
            "stream",
        ),
        (
            "/v1/audit/events/%FF/0".to_owned(),
            400,
            "query.stream_invalid",
            "stream",
        ),
        (
            "/v1/audit/streams/%FF/registration".to_owned(),
            400,
            "query.stream_invalid",
            "stream",
        ),
        (
            "/v1/audit/tile/0/%FF".to_owned(),
            400,
            "query.tile_invalid",
            "path",
        ),
        (
            format!("/v1/audit/events/{STREAM}/-1"),
            400,
            "query.seq_invalid",
            "seq",
        ),
        (
            format!("/v1/audit/events/{STREAM}/+1"),
            400,
            "query.seq_invalid",
            "seq",
        ),
        (
            format!("/v1/audit/events/{STREAM}/one/proof"),
            400,
            "query.seq_invalid",
            "seq",
        ),
        (
            format!("/v1/audit/events/{STREAM}/99999999999999999999"),
            400,
            "query.seq_invalid",
            "seq",
        ),
        (
            format!("/v1/audit/events/{STREAM}/0?limit=1"),
            400,
            "query.parameter_unknown",
            "limit",
        ),
        (
            format!("/v1/audit/events/{STREAM}/0/proof?a"),
            400,
            "query.parameter_unknown",
            "a",
        ),
        (
            "/v1/audit/checkpoint?a=1".to_owned(),
            400,
            "query.parameter_unknown",
            "a",
        ),
        (
            "/v1/audit/log.vkey?a=1".to_owned(),
            400,
            "query.parameter_unknown",
            "a",
        ),
        (
            "/v1/audit/tile/0/000?a=1".to_owned(),
            400,
            "query.parameter_unknown",
            "a",
        ),
        (
            format!("/v1/audit/streams/{STREAM}/registration?a=1"),
            400,
            "query.parameter_unknown",
            "a",
        ),
        (
            "/v1/audit/streams/x/registration".to_owned(),
            400,
            "query.stream_invalid",
            "stream",
        ),
        (
            "/v1/audit/tile/8/000".to_owned(),
            400,
            "query.tile_invalid",
            "path",
        ),
        (
            "/v1/audit/tile/0/0".to_owned(),
            400,
            "query.tile_invalid",
            "path",
        ),
        (
            "/v1/audit/tile/0/000.p/256".to_owned(),
            400,
            "query.tile_invalid",
            "path",
        ),
        (
            "/v1/audit/tile/../checkpoint".to_owned(),
            400,
            "query.tile_invalid",
            "path",
        ),
        (
            "/v1/audit/tile/..%2Fcommitted".to_owned(),
            400,
            "query.tile_invalid",
            "path",
        ),
        (
            "/v1/audit/tile/0/000/..".to_owned(),
            400,
            "query.tile_invalid",
            "path",
        ),
        (
            format!("/v1/audit/events/{STREAM}/0"),
            404,
            "audit.event_unknown",
            "",
        ),
        (
            format!("/v1/audit/events/{STREAM}/0/proof"),
            404,
            "audit.event_unknown",
            "",
        ),
        (
            format!("/v1/audit/streams/{STREAM}/registration"),
            404,
            "audit.stream_unknown",
            "",
        ),
        (
            "/v1/audit/checkpoint".to_owned(),
            404,
            "audit.no_checkpoint",
            "",
        ),
        (
            "/v1/audit/tile/0/000".to_owned(),
            404,
            "audit.tile_unknown",
            "",
        ),
        ("/v1/audit/tile/".to_owned(), 404, "route.unknown", ""),
        ("/v1/audit".to_owned(), 404, "route.unknown", ""),
    ] {
        let reply = site.get(&path).await;
        assert_eq!(reply.error(), (status, code.to_owned()), "{path}");
        assert_eq!(
            reply.json()["field"].as_str().unwrap_or_default(),
            field,
            "{path}"
        );
    }
    assert_eq!(site.queries().await, []);
}

#[tokio::test]
async fn other_methods_are_refused() {
    let site = site();
    let request = Request::post("/v1/audit/events")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        site.send(request).await.error(),
        (405, "route.method_not_allowed".to_owned())
    );
}
