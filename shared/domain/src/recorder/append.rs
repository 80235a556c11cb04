//! An append to the audit log that is under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::tail::Tail;
use super::{Durable, Recorder};
use crate::StoreError;

/// The records of one append, and what tells how it ends.
pub(super) struct Sent {
    pub(super) tail: Arc<Tail>,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) durable: Durable,
}

/// An append under way; where its caller drops it, the recorder keeps what tells how it ended.
pub(super) struct Append<'a> {
    pub(super) recorder: &'a Recorder,
    /// `None` once it ended.
    pub(super) sent: Option<Sent>,
}

impl Future for Append<'_> {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(sent) = self.sent.as_mut() else {
            return Poll::Pending;
        };
        let outcome = ready!(sent.durable.as_mut().poll(context));
        if let Some(sent) = self.sent.take() {
            self.recorder.settle(&sent, &outcome);
        }
        Poll::Ready(outcome)
    }
}

impl Drop for Append<'_> {
    fn drop(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.recorder.abandoned().push(sent);
        }
    }
}

impl Recorder {
    /// Asks, without waiting, what became of the appends whose callers went away, and settles them.
    pub(super) fn settle_abandoned(&self) {
        let mut context = Context::from_waker(Waker::noop());
        let mut settled = Vec::new();
        self.abandoned()
            .retain_mut(|sent| match sent.durable.as_mut().poll(&mut context) {
                Poll::Pending => true,
                Poll::Ready(outcome) => {
                    settled.push((sent.tail.clone(), sent.first, sent.last, outcome));
                    false
                }
            });
        for (tail, first, last, outcome) in settled {
            self.settle_tail(&tail, first, last, &outcome);
            if outcome.is_err() && tail.last_kept().is_some() {
                self.unwatched().push(tail);
            }
        }
    }

    /// What the end of an append means for its stream.
    fn settle(&self, sent: &Sent, outcome: &Result<(), StoreError>) {
        self.settle_tail(&sent.tail, sent.first, sent.last, outcome);
    }
}
