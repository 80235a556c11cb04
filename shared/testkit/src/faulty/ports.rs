//! Every port, played by [`Faulty`].

use artifact::container::DataKey;
use artifact::{ModelName, ModelVersion, Sha256Digest};
use async_trait::async_trait;
use audit::{Record, SignedRegistration, StreamId};
use domain::ports::{
    Alias, AliasReader, AliasWriter, ArtifactFiles, ArtifactReader, ArtifactWriter, AuditAppender,
    AuditReader, AuditSearch, Claim, ClaimKey, ClaimToken, Clock, Entropy, KeyContext,
    KeyUnwrapper, KeyWrapper, LoadableFiles, LogLock, LogPublisher, LogReader, LogWriter,
    ReleaseReader, ReleaseWriter, RequestClaims, Signer,
};
use domain::{EventPage, EventQuery, LogPath, Release, ReleaseId, StoreError};
use futures::future::{BoxFuture, FutureExt, ready};

use super::{Fault, Faulty, lost};

#[async_trait]
impl<P: ArtifactReader + ?Sized> ArtifactReader for Faulty<P> {
    async fn read(
        &self,
        name: &ModelName,
        version: &ModelVersion,
    ) -> Result<ArtifactFiles, StoreError> {
        self.play("ArtifactReader::read", self.inner.read(name, version))
            .await
    }

    async fn read_loadable(
        &self,
        name: &ModelName,
        version: &ModelVersion,
    ) -> Result<LoadableFiles, StoreError> {
        let work = self.inner.read_loadable(name, version);
        self.play("ArtifactReader::read_loadable", work).await
    }

    async fn versions(&self, name: &ModelName) -> Result<Vec<ModelVersion>, StoreError> {
        self.play("ArtifactReader::versions", self.inner.versions(name))
            .await
    }
}

#[async_trait]
impl<P: ArtifactWriter + ?Sized> ArtifactWriter for Faulty<P> {
    async fn create(
        &self,
        name: &ModelName,
        version: &ModelVersion,
        files: &ArtifactFiles,
    ) -> Result<(), StoreError> {
        self.play(
            "ArtifactWriter::create",
            self.inner.create(name, version, files),
        )
        .await
    }

    async fn replace_sidecar(
        &self,
        name: &ModelName,
        version: &ModelVersion,
        sidecar: &[u8],
    ) -> Result<(), StoreError> {
        let work = self.inner.replace_sidecar(name, version, sidecar);
        self.play("ArtifactWriter::replace_sidecar", work).await
    }
}

#[async_trait]
impl<P: AuditAppender + ?Sized> AuditAppender for Faulty<P> {
    async fn register(&self, registration: &SignedRegistration) -> Result<(), StoreError> {
        self.play("AuditAppender::register", self.inner.register(registration))
            .await
    }

    fn append(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), StoreError>> {
        let call = "AuditAppender::append";
        let fault = self.next_fault(call);
        let stream = records.first().map(|record| record.stream);
        let mut script = self.script();
        if stream.is_some_and(|stream| script.ended.contains(&stream)) {
            let error =
                StoreError::Unavailable("the stream was ended by an earlier failure".to_owned());
            return ready(Err(error)).boxed();
        }
        if matches!(fault, Some(Fault::Before(_) | Fault::After)) {
            script.ended.extend(stream);
        }
        drop(script);
        match fault {
            None => self.inner.append(records),
            Some(Fault::Before(error)) => ready(Err(error)).boxed(),
            Some(Fault::After) => {
                let work = self.inner.append(records);
                async move { work.await.and(Err(lost(call))) }.boxed()
            }
            // The place in the queue is taken now all the same: the contract asks for it.
            Some(Fault::Delay(delay)) => {
                let work = self.inner.append(records);
                async move {
                    tokio::time::sleep(delay).await;
                    work.await
                }
                .boxed()
            }
        }
    }
}

#[async_trait]
impl<P: AuditReader + ?Sized> AuditReader for Faulty<P> {
    async fn streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        self.play("AuditReader::streams", self.inner.streams(after, limit))
            .await
    }

    async fn registration_hours(&self) -> Result<Vec<u64>, StoreError> {
        let work = self.inner.registration_hours();
        self.play("AuditReader::registration_hours", work).await
    }

    async fn registered_in(
        &self,
        hour: u64,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let work = self.inner.registered_in(hour, after, limit);
        self.play("AuditReader::registered_in", work).await
    }

    async fn registration(&self, stream: StreamId) -> Result<SignedRegistration, StoreError> {
        self.play("AuditReader::registration", self.inner.registration(stream))
            .await
    }

    async fn read(
        &self,
        stream: StreamId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.play("AuditReader::read", self.inner.read(stream, from, limit))
            .await
    }
}

#[async_trait]
impl<P: RequestClaims + ?Sized> RequestClaims for Faulty<P> {
    async fn claim(
        &self,
        key: &ClaimKey,
        payload: Sha256Digest,
        now_us: u64,
        lease_us: u64,
    ) -> Result<Claim, StoreError> {
        let work = self.inner.claim(key, payload, now_us, lease_us);
        self.play("RequestClaims::claim", work).await
    }

    async fn answer(
        &self,
        key: &ClaimKey,
        token: ClaimToken,
        answer: &[u8],
        expires_us: u64,
    ) -> Result<(), StoreError> {
        let work = self.inner.answer(key, token, answer, expires_us);
        self.play("RequestClaims::answer", work).await
    }

    async fn release(&self, key: &ClaimKey, token: ClaimToken) -> Result<(), StoreError> {
        self.play("RequestClaims::release", self.inner.release(key, token))
            .await
    }
}

#[async_trait]
impl<P: AuditSearch + ?Sized> AuditSearch for Faulty<P> {
    async fn search(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.play("AuditSearch::search", self.inner.search(query))
            .await
    }
}

#[async_trait]
impl<P: LogReader + ?Sized> LogReader for Faulty<P> {
    async fn read(&self, path: &LogPath, max: u64) -> Result<Vec<u8>, StoreError> {
        self.play("LogReader::read", self.inner.read(path, max))
            .await
    }

    async fn checkpoint(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.play("LogReader::checkpoint", self.inner.checkpoint())
            .await
    }
}

#[async_trait]
impl<P: LogWriter + ?Sized> LogWriter for Faulty<P> {
    async fn create(&self, path: &LogPath, bytes: &[u8]) -> Result<(), StoreError> {
        self.play("LogWriter::create", self.inner.create(path, bytes))
            .await
    }
}

#[async_trait]
impl<P: LogPublisher + ?Sized> LogPublisher for Faulty<P> {
    async fn publish(&self, expected: Option<&[u8]>, next: &[u8]) -> Result<(), StoreError> {
        self.play("LogPublisher::publish", self.inner.publish(expected, next))
            .await
    }
}

#[async_trait]
impl<P: LogLock + ?Sized> LogLock for Faulty<P> {
    async fn committed(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.play("LogLock::committed", self.inner.committed())
            .await
    }

    async fn commit(&self, expected: Option<&[u8]>, next: &[u8]) -> Result<(), StoreError> {
        self.play("LogLock::commit", self.inner.commit(expected, next))
            .await
    }
}

#[async_trait]
impl<P: ReleaseReader + ?Sized> ReleaseReader for Faulty<P> {
    async fn get(&self, id: ReleaseId) -> Result<Release, StoreError> {
        self.play("ReleaseReader::get", self.inner.get(id)).await
    }

    async fn newest(&self) -> Result<Option<ReleaseId>, StoreError> {
        self.play("ReleaseReader::newest", self.inner.newest())
            .await
    }
}

#[async_trait]
impl<P: ReleaseWriter + ?Sized> ReleaseWriter for Faulty<P> {
    async fn create(&self, release: &Release) -> Result<(), StoreError> {
        self.play("ReleaseWriter::create", self.inner.create(release))
            .await
    }
}

#[async_trait]
impl<P: AliasReader + ?Sized> AliasReader for Faulty<P> {
    async fn get(&self, alias: &str) -> Result<Option<Alias>, StoreError> {
        self.play("AliasReader::get", self.inner.get(alias)).await
    }
}

#[async_trait]
impl<P: AliasWriter + ?Sized> AliasWriter for Faulty<P> {
    async fn compare_and_swap(
        &self,
        alias: &str,
        expected: u64,
        release: ReleaseId,
    ) -> Result<Alias, StoreError> {
        let work = self.inner.compare_and_swap(alias, expected, release);
        self.play("AliasWriter::compare_and_swap", work).await
    }
}

#[async_trait]
impl<P: KeyUnwrapper + ?Sized> KeyUnwrapper for Faulty<P> {
    async fn unwrap(
        &self,
        key_id: &str,
        wrapped: &[u8],
        context: &KeyContext,
    ) -> Result<DataKey, StoreError> {
        self.play(
            "KeyUnwrapper::unwrap",
            self.inner.unwrap(key_id, wrapped, context),
        )
        .await
    }
}

#[async_trait]
impl<P: KeyWrapper + ?Sized> KeyWrapper for Faulty<P> {
    async fn generate(
        &self,
        key_id: &str,
        context: &KeyContext,
    ) -> Result<(DataKey, Vec<u8>), StoreError> {
        self.play("KeyWrapper::generate", self.inner.generate(key_id, context))
            .await
    }
}

#[async_trait]
impl<P: Signer + ?Sized> Signer for Faulty<P> {
    fn key_id(&self) -> &str {
        self.inner.key_id()
    }

    async fn public_key_pem(&self) -> Result<String, StoreError> {
        self.play("Signer::public_key_pem", self.inner.public_key_pem())
            .await
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.play("Signer::sign", self.inner.sign(message)).await
    }
}

/// A clock cannot fail; it is here so that a wrapped store that is one stays one.
impl<P: Clock + ?Sized> Clock for Faulty<P> {
    fn now_us(&self) -> u64 {
        self.inner.now_us()
    }
}

impl<P: Entropy + ?Sized> Entropy for Faulty<P> {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), StoreError> {
        let call = "Entropy::fill";
        match self.next_fault(call) {
            None => self.inner.fill(bytes),
            Some(Fault::Before(error)) => Err(error),
            Some(Fault::After) => self.inner.fill(bytes).and(Err(lost(call))),
            Some(Fault::Delay(delay)) => {
                std::thread::sleep(delay);
                self.inner.fill(bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::build::{TestStream, verify};
    use crate::{MemoryAudit, SeededEntropy};

    fn down() -> Fault {
        Fault::Before(StoreError::Unavailable("down".to_owned()))
    }

    async fn stored(log: &MemoryAudit, stream: StreamId) -> usize {
        log.read(stream, 0, 100).await.unwrap().len()
    }

    #[tokio::test]
    async fn a_call_fails_before_or_after_it_is_applied_and_ends_its_stream() {
        for (fault, applied) in [(down(), 0), (Fault::After, 1)] {
            let log = Arc::new(MemoryAudit::new());
            let faulty = Faulty::new(Arc::clone(&log));
            faulty.fail_nth("AuditAppender::append", 1, fault);
            let mut test = TestStream::fresh();
            let id = test.stream.id();
            faulty.register(&test.registration).await.unwrap();
            let record = test.record("one");
            assert!(faulty.append(vec![record.clone()]).await.is_err());
            assert_eq!(stored(&log, id).await, applied);
            assert!(
                faulty.append(vec![record]).await.is_err(),
                "the stream has ended"
            );
            faulty.assert_all_took_place();
            assert_eq!(faulty.calls("AuditAppender::append"), 2);
        }
    }

    #[tokio::test]
    async fn a_delayed_append_keeps_its_place() {
        let log = Arc::new(MemoryAudit::new());
        let faulty = Faulty::new(Arc::clone(&log));
        faulty.fail_next(
            "AuditAppender::append",
            Fault::Delay(Duration::from_millis(20)),
        );
        let mut test = TestStream::fresh();
        faulty.register(&test.registration).await.unwrap();
        let (first, second) = (test.record("one"), test.record("two"));
        let (first, second) = (faulty.append(vec![first]), faulty.append(vec![second]));
        second.await.unwrap();
        first.await.unwrap();
        let records = log.read(test.stream.id(), 0, 10).await.unwrap();
        assert_eq!(verify(&test.registration, &records).unwrap().events, 2);
    }

    #[test]
    fn a_lasting_fault_lasts_until_it_is_healed() {
        let faulty = Faulty::new(Arc::new(SeededEntropy::new(1)));
        faulty.fail_always("Entropy::fill", down());
        let mut bytes = [0; 4];
        assert!(faulty.fill(&mut bytes).is_err() && faulty.fill(&mut bytes).is_err());
        assert_eq!(bytes, [0; 4]);
        faulty.heal("Entropy::fill");
        assert!(faulty.fill(&mut bytes).is_ok());
        assert_ne!(bytes, [0; 4]);
    }

    #[test]
    #[should_panic(expected = "names no call of a port")]
    fn a_misspelt_call_is_refused() {
        Faulty::new(Arc::new(SeededEntropy::new(1))).fail_next("Entropy::full", down());
    }
}
