use audit::seal::{SealedStream, Standing};
use audit::{Record, SignedRegistration, StreamId, export};
use domain::StoreError;
use domain::ports::{SealIndexReader, SealIndexWriter};
use testkit::Fault;
use testkit::build::{TestStream, event};

use crate::support::{Change, SECOND, Site, site};

async fn one_stream(sealed: bool) -> (Site, Record, SignedRegistration) {
    let site = site();
    site.clock.advance(60 * SECOND);
    let mut test = site.stream(1).await;
    let record = site.append(&mut test, event("x"), 0).await;
    if sealed {
        site.seal().await;
    }
    (site, record, test.registration)
}

async fn given(site: &Site, stream: StreamId) -> SignedRegistration {
    let path = format!("/v1/audit/streams/{stream}/registration");
    let reply = site.ok(&path).await;
    let head = site.get("/v1/audit/checkpoint").await;
    let leaves = match head.header("sealcast-tree-size") {
        "" => "0",
        leaves => leaves,
    };
    assert_eq!(reply.header("sealcast-tree-size"), leaves);
    export::parse_registration_line(&reply.bytes).unwrap()
}

/// A registration of the same stream by somebody else.
fn other() -> Vec<u8> {
    TestStream::of([1; 16], "other").registration.registration
}

#[tokio::test]
async fn a_registration_whose_row_is_gone_is_given_from_the_log() {
    let (site, record, registration) = one_stream(true).await;
    site.change_registration(record.stream, Change::Gone);
    site.change(&record, Change::Gone);
    let found = given(&site, record.stream).await;
    let expected = SignedRegistration {
        key_id: String::new(),
        ..registration
    };
    assert_eq!(found, expected);
    assert_eq!(site.security().await, []);
    // Event and proof, too.
    let path = format!("/v1/audit/events/{}/0", record.stream);
    let json = site.ok(&path).await.json();
    assert_eq!(json["entry"]["data"]["subject"], "x");
    assert_eq!(
        site.ok(&format!("{path}/proof")).await.text(),
        json["proof"]
    );
}

#[tokio::test]
async fn a_registration_that_is_not_what_was_sealed_is_found_and_what_was_sealed_is_given() {
    for (change, code) in [
        (Change::Entry(other()), "audit.registration_altered"),
        (Change::Signature([7; 64]), "audit.registration_altered"),
        (Change::Corrupt, "audit.registration_unreadable"),
    ] {
        let (site, record, registration) = one_stream(true).await;
        let key_id = match change {
            Change::Corrupt => String::new(),
            _ => registration.key_id.clone(),
        };
        site.change_registration(record.stream, change);
        let found = given(&site, record.stream).await;
        assert_eq!(
            found,
            SignedRegistration {
                key_id,
                ..registration
            }
        );
        let finding = (code.to_owned(), record.stream.to_string());
        assert_eq!(site.security().await, [finding]);
    }
}

#[tokio::test]
async fn a_registration_that_is_not_sealed_is_its_row() {
    let (site, record, registration) = one_stream(false).await;
    assert_eq!(given(&site, record.stream).await, registration);
    let path = format!("/v1/audit/streams/{}/registration", record.stream);
    for (change, error) in [
        (Change::Gone, (404, "audit.stream_unknown")),
        (Change::Corrupt, (503, "audit.registration_unreadable")),
    ] {
        site.change_registration(record.stream, change);
        let (status, code) = site.get(&path).await.error();
        assert_eq!((status, &*code), error);
    }
}

#[tokio::test]
async fn a_registration_that_the_log_does_not_show_is_its_row_and_a_finding() {
    let damages: [fn(&Site, &str); 2] = [
        |site, leaves| site.change_object(&format!("tile/0/000.p/{leaves}"), None),
        |site, leaves| site.change_object(&format!("tile/entries/000.p/{leaves}"), None),
    ];
    for damage in damages {
        let (site, record, registration) = one_stream(true).await;
        let checkpoint = site.ok("/v1/audit/checkpoint").await;
        damage(&site, checkpoint.header("sealcast-tree-size"));
        assert_eq!(given(&site, record.stream).await, registration);
        site.change_registration(record.stream, Change::Gone);
        let path = format!("/v1/audit/streams/{}/registration", record.stream);
        let error = site.get(&path).await.error();
        assert_eq!(error, (503, "audit.log_corrupt".to_owned()));
        let place = record.stream.to_string();
        let finding = ("audit.log_corrupt".to_owned(), place);
        assert_eq!(site.security().await, [finding]);
    }
}

/// Where the stream's registration is sealed, as the index of the log says.
async fn registered_at(site: &Site, stream: StreamId) -> (SealedStream, u64) {
    let state = site.store.seal_index().state(stream).await;
    let state = state.unwrap().unwrap();
    match state.standing {
        Standing::Registered { index, .. } => (state, index),
        Standing::Refused => panic!("{state:?}"),
    }
}

#[tokio::test]
async fn a_leaf_that_is_no_registration_of_the_stream_is_not_given_as_one() {
    let (site, record, registration) = one_stream(false).await;
    let other = site.stream(2).await.stream.id();
    site.seal().await;
    let (state, index) = registered_at(&site, record.stream).await;
    let Standing::Registered { public_key, .. } = state.standing else {
        panic!("{state:?}");
    };
    let (_, others) = registered_at(&site, other).await;
    // An event, and another stream's registration.
    for (later, index) in [(1, index + 1), (2, others)] {
        let moved = SealedStream {
            standing: Standing::Registered { index, public_key },
            tree_size: state.tree_size + later,
            ..state.clone()
        };
        site.store.seal_index().put(&[moved], &[]).await.unwrap();
        assert_eq!(given(&site, record.stream).await, registration);
        let finding = ("audit.log_corrupt".to_owned(), record.stream.to_string());
        assert_eq!(site.security().await, [finding]);
    }
}

#[tokio::test]
async fn a_registration_that_no_checkpoint_covers_is_not_taken_from_the_log() {
    let (site, record, registration) = one_stream(false).await;
    site.seal_without_publishing().await;
    assert_eq!(given(&site, record.stream).await, registration);
    site.change_registration(record.stream, Change::Gone);
    let path = format!("/v1/audit/streams/{}/registration", record.stream);
    let error = site.get(&path).await.error();
    assert_eq!(error, (404, "audit.stream_unknown".to_owned()));
}

#[tokio::test]
async fn a_state_that_does_not_come_is_503() {
    let (site, record, _) = one_stream(true).await;
    for path in [
        format!("/v1/audit/streams/{}/registration", record.stream),
        format!("/v1/audit/events/{}/0", record.stream),
    ] {
        let down = Fault::Before(StoreError::Unavailable("down".to_owned()));
        site.index.fail_next("SealIndexReader::state", down);
        let error = site.get(&path).await.error();
        assert_eq!(error, (503, "store.unavailable".to_owned()), "{path}");
        site.ok(&path).await;
    }
}
