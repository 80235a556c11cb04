//! Who may vouch for which streams.

use std::sync::{Arc, Mutex};

use audit_seal::{Rules, StreamKeys};
use domain::StoreError;
use domain::ports::{AuditAppender, Clock, Signer};
use testkit::TestSigner;
use testkit::build::{TestStream, random};

use crate::support::{World, block_on};

const DAY_US: u64 = 24 * 3_600_000_000;

#[test]
fn the_key_of_peoples_commands_vouches_for_no_function() {
    let world = World::new();
    let mut function = world.open(random());
    let host = "cli/arn:aws:iam::111122223333:user/ann";
    let mut command = TestStream::opened_at(random(), host, world.clock.now_us());
    block_on(world.audit.register(&command.registration)).unwrap();
    world.append(function.records(3));
    world.append(command.records(2));
    let rules = Rules {
        commands_only: vec![TestSigner::new(1).trusted().0],
        ..World::rules()
    };
    let report = block_on(world.sealer_over(&world.stores(), rules).run(None)).unwrap();
    assert_eq!((report.events, report.findings), (2, 1));
    // Under a key that may, it is sealed.
    world.clock.advance(DAY_US);
    assert_eq!(world.seal().events, 3);
}

/// A key that can be asked for only sometimes.
struct Keeper {
    signer: TestSigner,
    refusal: Mutex<Option<StoreError>>,
}

#[async_trait::async_trait]
impl Signer for Keeper {
    fn key_id(&self) -> &str {
        self.signer.key_id()
    }

    async fn public_key_pem(&self) -> Result<String, StoreError> {
        let refusal = self.refusal.lock().unwrap().clone();
        match refusal {
            Some(refusal) => Err(refusal),
            None => self.signer.public_key_pem().await,
        }
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.signer.sign(message).await
    }
}

#[test]
fn a_key_of_commands_that_is_gone_keeps_no_other_stream_waiting() {
    let keeper = |byte, refusal| {
        Arc::new(Keeper {
            signer: TestSigner::new(byte),
            refusal: Mutex::new(refusal),
        })
    };
    let denied = || Some(StoreError::Denied("the key is gone".to_owned()));
    let world = World::new();
    let of_commands = keeper(1, denied());
    let keys: Vec<Arc<dyn Signer>> = vec![keeper(9, None), of_commands.clone()];
    let rules = Rules {
        commands_only: vec![of_commands.key_id().to_owned()],
        stream_keys: StreamKeys::Of(keys),
        ..World::rules()
    };
    let sealer = world.sealer_over(&world.stores(), rules.clone());
    let mut command = TestStream::opened_at(random(), "cli/7", world.clock.now_us());
    block_on(world.audit.register(&command.registration)).unwrap();
    world.append(command.records(2));
    let report = block_on(sealer.run(None)).unwrap();
    assert_eq!((report.events, report.findings), (0, 1));
    // The same sealer asks again.
    *of_commands.refusal.lock().unwrap() = None;
    world.clock.advance(DAY_US);
    assert_eq!(block_on(sealer.run(None)).unwrap().events, 2);

    // An outage is no verdict, and no function's key can be done without.
    let unavailable = Some(StoreError::Unavailable("no answer".to_owned()));
    for (functions, commands) in [(None, unavailable), (denied(), None)] {
        let keys: Vec<Arc<dyn Signer>> = vec![keeper(9, functions), keeper(1, commands)];
        let rules = Rules {
            stream_keys: StreamKeys::Of(keys),
            ..rules.clone()
        };
        let sealer = world.sealer_over(&world.stores(), rules);
        assert!(block_on(sealer.run(None)).is_err());
    }
}
