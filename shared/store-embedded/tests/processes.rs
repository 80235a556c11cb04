//! Several processes, some of them killed. The children are ignored tests of this very binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use audit::{LeafHash, StreamId, StreamVerifier};
use domain::ports::{
    AliasReader, AliasWriter, ArtifactReader, ArtifactWriter, AuditAppender, AuditReader, Claim,
    ClaimKey, ReleaseReader, ReleaseWriter,
};
use domain::system::{SystemClock, SystemEntropy};
use domain::{PrincipalId, Recorder, RequestId, Sha256Digest, StoreError};
use store_embedded::{EmbeddedStore, FileArtifacts, FileAudit, FileReleases};
use testkit::build::{TestStream, artifact_files, event, release, release_id, verify, version};

const DATA: &str = "SEALCAST_TEST_DATA";
const NAME: &str = "SEALCAST_TEST_NAME";

/// This binary, running the ignored test `child` alone.
fn child_command(child: &str, data: &Path, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        child,
        "--exact",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command
        .env(DATA, data)
        .env(NAME, name)
        .stdout(Stdio::piped());
    command
}

fn child_data() -> PathBuf {
    PathBuf::from(std::env::var_os(DATA).expect("run by another test of this file"))
}

/// Tells the parent; the line feed before it ends whatever the test harness wrote.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\ntold {line}\n").as_bytes())
        .unwrap();
    out.flush().unwrap();
}

/// The whole lines that a child told, until its output ends.
fn told(output: impl Read) -> impl Iterator<Item = String> {
    let mut output = BufReader::new(output);
    std::iter::from_fn(move || {
        loop {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            if line.is_empty() {
                return None;
            }
            if let Some(line) = line
                .strip_prefix("told ")
                .and_then(|line| line.strip_suffix('\n'))
            {
                return Some(line.to_owned());
            }
        }
    })
}

fn finish(mut child: Child) -> Vec<String> {
    let lines = told(child.stdout.take().unwrap()).collect();
    assert!(child.wait().unwrap().success());
    lines
}

fn request(id: &str) -> ClaimKey {
    ClaimKey {
        principal: PrincipalId::parse("anna").unwrap(),
        request: RequestId::parse(id).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a child of a_killed_process_loses_nothing_that_it_acknowledged"]
async fn child_records_until_it_is_killed() {
    let store = Arc::new(EmbeddedStore::open(&child_data()).unwrap());
    let recorder = Arc::new(Recorder::new(
        "child".to_owned(),
        store.audit_appender(),
        store.stream_signer(),
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
    ));
    let round = std::env::var(NAME).unwrap();
    let tasks = (0..16).map(|task| {
        let (recorder, claims, round) =
            (Arc::clone(&recorder), store.request_claims(), round.clone());
        tokio::spawn(async move {
            for number in 0.. {
                let text = "x".repeat(number * 37 % 3000);
                let receipt = recorder.record(event(&text)).await.unwrap().receipt;
                tell(&format!(
                    "event {} {} {}",
                    receipt.stream, receipt.seq, receipt.leaf_hash
                ));
                if number % 4 == 0 {
                    let id = format!("{round}-{task}-{number}");
                    let payload = Sha256Digest::of(id.as_bytes());
                    let claim = claims.claim(&request(&id), payload, 0, 1000).await.unwrap();
                    let Claim::Won(token) = claim else {
                        panic!("{claim:?}")
                    };
                    claims
                        .answer(&request(&id), token, text.as_bytes(), 1000)
                        .await
                        .unwrap();
                    tell(&format!("answer {id} {}", text.len()));
                }
            }
        })
    });
    futures::future::join_all(tasks).await;
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::create(data.path()).unwrap());
    let mut acknowledged = Vec::new();
    for round in 0..8_u64 {
        let mut child = child_command(
            "child_records_until_it_is_killed",
            data.path(),
            &round.to_string(),
        )
        .spawn()
        .unwrap();
        let mut lines = told(child.stdout.take().unwrap());
        let first = lines.next().expect("the child acknowledges something");
        std::thread::sleep(Duration::from_millis(40 + round * 23));
        // `kill` is SIGKILL: the child has no chance to tidy up.
        child.kill().unwrap();
        child.wait().unwrap();
        let before = acknowledged.len();
        acknowledged.extend(std::iter::once(first).chain(lines));
        assert!(acknowledged.len() > before + 16, "the child was at work");

        let store = EmbeddedStore::open(data.path()).unwrap();
        let reader = store.audit_reader();
        let streams = reader.streams(None, 100).await.unwrap();
        assert_eq!(streams.len() as u64, round + 1);
        for stream in streams {
            let registration = reader.registration(stream).await.unwrap();
            let trusted = store.keys().trusted_stream_keys();
            let mut verifier = StreamVerifier::new(&registration, &trusted).unwrap();
            for record in reader.read(stream, 0, usize::MAX).await.unwrap() {
                verifier.check(&record).unwrap();
            }
        }
        for line in &acknowledged {
            check_kept(&store, line).await;
        }
    }
    assert!(
        acknowledged.iter().any(|line| line.starts_with("answer")),
        "answers were among them"
    );
}

async fn check_kept(store: &EmbeddedStore, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["event", stream, seq, hash] => {
            let stream = StreamId::parse(stream).unwrap();
            let records = store
                .audit_reader()
                .read(stream, seq.parse().unwrap(), 1)
                .await
                .unwrap();
            let record = records.first().unwrap_or_else(|| panic!("lost: {line}"));
            assert_eq!(
                Some(record.receipt().leaf_hash),
                LeafHash::parse(hash),
                "{line}"
            );
        }
        ["answer", id, len] => {
            let payload = Sha256Digest::of(id.as_bytes());
            let claim = store
                .request_claims()
                .claim(&request(id), payload, 0, 1000)
                .await
                .unwrap();
            assert_eq!(
                claim,
                Claim::Answered(vec![b'x'; len.parse().unwrap()]),
                "{line}"
            );
        }
        _ => panic!("{line}"),
    }
}

#[tokio::test]
#[ignore = "a child of rival_processes_push_each_version_once"]
async fn child_pushes_and_releases() {
    let (data, name) = (child_data(), std::env::var(NAME).unwrap());
    let artifacts = FileArtifacts::open(&data).unwrap();
    let releases = FileReleases::open(&data).unwrap();
    let model = domain::ModelName::parse("rivals").unwrap();
    for minor in 0..25 {
        let version = version(&format!("1.{minor}.0"));
        match artifacts
            .create(&model, &version, &artifact_files(&name))
            .await
        {
            Ok(()) => tell(&format!("won {version}")),
            Err(StoreError::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    for _ in 0..10 {
        loop {
            let next = releases
                .newest()
                .await
                .unwrap()
                .map_or(1, |id| id.number() + 1);
            let mut release = release(next);
            release.created_by = PrincipalId::parse(&name).unwrap();
            match ReleaseWriter::create(&releases, &release).await {
                Ok(()) => break tell(&format!("released {}", release.id)),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        loop {
            let revision = AliasReader::get(&releases, "live")
                .await
                .unwrap()
                .map_or(0, |a| a.revision);
            match releases
                .compare_and_swap("live", revision, release_id(1))
                .await
            {
                Ok(alias) => break tell(&format!("moved {}", alias.revision)),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn rival_processes_push_each_version_once() {
    const PROCESSES: usize = 4;
    let data = tempfile::tempdir().unwrap();
    let children: Vec<Child> = (0..PROCESSES)
        .map(|number| {
            let name = format!("pusher-{number}");
            child_command("child_pushes_and_releases", data.path(), &name)
                .spawn()
                .unwrap()
        })
        .collect();
    let lines: Vec<Vec<String>> = children.into_iter().map(finish).collect();

    let artifacts = FileArtifacts::open(data.path()).unwrap();
    let model = domain::ModelName::parse("rivals").unwrap();
    let versions = artifacts.versions(&model).await.unwrap();
    assert_eq!(versions.len(), 25);
    for version in versions {
        let line = format!("won {version}");
        let winners: Vec<usize> = (0..PROCESSES)
            .filter(|n| lines[*n].contains(&line))
            .collect();
        assert_eq!(winners.len(), 1, "{version}");
        let expected = artifact_files(&format!("pusher-{}", winners[0]));
        assert_eq!(
            artifacts.read(&model, &version).await,
            Ok(expected),
            "{version}"
        );
    }

    let releases = FileReleases::open(data.path()).unwrap();
    assert_eq!(
        releases.newest().await,
        Ok(Some(release_id(10 * PROCESSES as u64)))
    );
    for number in 1..=10 * PROCESSES as u64 {
        let release = ReleaseReader::get(&releases, release_id(number))
            .await
            .unwrap();
        let line = format!("released {}", release.id);
        let winners: Vec<usize> = (0..PROCESSES)
            .filter(|n| lines[*n].contains(&line))
            .collect();
        assert_eq!(winners.len(), 1, "{line}");
        assert_eq!(
            release.created_by.as_str(),
            format!("pusher-{}", winners[0])
        );
    }
    let alias = AliasReader::get(&releases, "live").await.unwrap().unwrap();
    assert_eq!(
        alias.revision,
        10 * PROCESSES as u64,
        "no move of the alias was lost"
    );
}

#[tokio::test]
#[ignore = "a child of a_disk_that_is_full_ends_the_stream_whole"]
async fn child_fills_its_disk() {
    let audit = FileAudit::open(&child_data()).unwrap();
    let mut test = TestStream::fresh();
    audit.register(&test.registration).await.unwrap();
    tell(&test.stream.id().to_string());
    let mut kept = Vec::new();
    let error = loop {
        assert!(
            kept.len() < 10_000,
            "the limit on the file's size does not hold"
        );
        let record = test.record(&"x".repeat(999));
        match audit.append(vec![record.clone()]).await {
            Ok(()) => kept.push(record),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, StoreError::Unavailable(_)),
        "cut back, so nothing was changed: {error}"
    );
    let late = TestStream::fresh().record("late");
    assert!(audit.append(vec![late]).await.is_err());
    assert!(
        audit.append(test.records(1)).await.is_err(),
        "the stream has ended"
    );
    assert_eq!(
        audit.read(test.stream.id(), 0, 100_000).await.unwrap(),
        kept
    );
    assert_eq!(
        verify(&test.registration, &kept).unwrap().events,
        kept.len() as u64
    );
    tell(&kept.len().to_string());
    // Another stream has a file of its own, which is below the limit again.
    let mut other = TestStream::fresh();
    audit.register(&other.registration).await.unwrap();
    audit.append(other.records(3)).await.unwrap();
}

#[tokio::test]
async fn a_disk_that_is_full_ends_the_stream_whole() {
    let data = tempfile::tempdir().unwrap();
    let child = child_command("child_fills_its_disk", data.path(), "");
    // A limit on the size of files stands for a full disk: the write that exceeds it is cut short, the next fails.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\""]);
    limited.arg(child.get_program()).args(child.get_args());
    limited
        .env(DATA, data.path())
        .env(NAME, "")
        .stdout(Stdio::piped());
    let lines = finish(limited.spawn().unwrap());
    let [stream, kept] = &lines[..] else {
        panic!("{lines:?}")
    };
    let stream = StreamId::parse(stream).unwrap();
    let kept: usize = kept.parse().unwrap();
    assert!(kept > 10, "{kept}");
    let bytes = std::fs::read(data.path().join(format!("audit/{stream}.jsonl"))).unwrap();
    assert!(
        bytes.ends_with(b"\n"),
        "the line that did not fit was cut off"
    );
    let audit = FileAudit::open(data.path()).unwrap();
    assert_eq!(audit.read(stream, 0, 100_000).await.unwrap().len(), kept);
}
