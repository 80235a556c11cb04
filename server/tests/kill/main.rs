//! `kill -9` at any moment: what a client was told is in the log, the log verifies, and a request that is sent again
//! gets the answer that was given. The sealed log, whose sealer is killed with it, holds every event once and only
//! grows.
//!
//! The operating system outlives the server here, so what is tested is the order of record and answer and the repair
//! at the start, not the disk's own durability (the store's tests look at its syncs). Clients are plain sockets that
//! know nothing of the server's code. `SEALCAST_KILL_SEED` chooses other moments.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clients;
mod connection;
mod data_dir;
mod process;
mod random;
mod sealed;
mod streams;

use std::time::{Duration, Instant};

use clients::{Clients, Log};
use data_dir::DataDir;
use process::ServerProcess;
use random::Random;
use sealed::SealedLog;
use streams::Streams;

const ROUNDS: usize = 50;
const CLIENTS: u64 = 12;
/// Every so many rounds the server is killed while it starts.
const KILL_AT_START_EVERY: usize = 10;

#[test]
fn no_answer_outlives_its_record_however_often_the_server_is_killed() {
    let seed = std::env::var("SEALCAST_KILL_SEED").map_or(0x5ea1, |seed| seed.parse().unwrap());
    let began = Instant::now();
    let mut random = Random::new(seed);
    let data = DataDir::prepare();
    let addr = process::find_free_addr();
    let clients = Clients::start(addr, data_dir::TOKEN, CLIENTS, seed);
    let mut streams = Streams::new(&data);
    let mut sealed = SealedLog::new(&data);

    for round in 1..=ROUNDS {
        let mut server = ServerProcess::start(data.path(), addr);
        if round % KILL_AT_START_EVERY == 0 {
            std::thread::sleep(Duration::from_millis(random.below(40)));
            server.kill();
            sealed.look();
            continue;
        }
        server.wait_until_ready();
        // The start has repaired what the kill before it left.
        streams.verify_new(server.pid());
        std::thread::sleep(Duration::from_millis(50 + random.below(351)));
        server.kill();
        // Nothing is written any more: what was answered must be there before anything is repaired.
        streams.check_written(&clients.log().answers);
        sealed.look();
    }

    let mut server = ServerProcess::start(data.path(), addr);
    server.wait_until_ready();
    clients.wait_for_more_answers(200);
    let log = clients.stop();
    assert!(
        server.stop().success(),
        "the server did not stop cleanly: {}",
        data.read_server_log()
    );
    streams.verify_new(0);
    streams.check_recorded(&log.answers);
    assert_eq!(
        streams.closed(),
        1,
        "only the last process said that it ended"
    );
    sealed.verify(&streams.events_by_stream());
    check_that_enough_was_tried(&log);
    let (leaves, checkpoints, interrupted) = sealed.summary();
    assert!(interrupted > 0, "no kill interrupted the sealer");
    assert!(checkpoints > ROUNDS / 2, "only {checkpoints} checkpoints");
    println!(
        "seed {seed}: {ROUNDS} kills, {} streams, {} events, {} answers, {} of them read back, {} requests \
         sent again after a kill, {} refusals for a while, {leaves} leaves sealed, {interrupted} runs of the sealer \
         interrupted, {:.1} s",
        streams.count(),
        streams.events(),
        log.answers.len(),
        log.answers.iter().filter(|answer| answer.is_replay).count(),
        log.sent_again,
        log.refused,
        began.elapsed().as_secs_f64(),
    );
    data.remove();
}

/// A test whose clients were hardly answered, or never cut off, would have shown nothing.
fn check_that_enough_was_tried(log: &Log) {
    let replays = log.answers.iter().filter(|answer| answer.is_replay).count();
    assert!(
        log.answers.len() > 20 * ROUNDS,
        "only {} answers",
        log.answers.len()
    );
    assert!(replays > ROUNDS, "only {replays} answers were read back");
    assert!(
        log.sent_again > ROUNDS,
        "only {} requests were cut off and sent again",
        log.sent_again
    );
}
