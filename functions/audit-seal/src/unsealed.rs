//! What a run knows to be unsealed when it ends, and since when. Records expire: nobody may learn too late that some
//! were never sealed.

use audit::StreamId;
use audit::seal::{SealPlan, SealedStream, Standing, StreamPage};
use domain::ports::expects_events;

use crate::head::Head;
use crate::sealer::Sealer;

/// Streams that nobody vouches for and that have records, with the time when the sealer first saw each.
pub(crate) struct Refused(Vec<(StreamId, u64)>);

impl Refused {
    /// Those among what is about to be planned.
    pub(crate) fn among(pages: &[StreamPage]) -> Self {
        let refused = pages.iter().filter_map(|page| {
            let known = page.known.as_ref()?;
            let waits = known.standing == Standing::Refused && !page.records.is_empty();
            waits.then_some((page.stream, known.last_sealed_us))
        });
        Self(refused.collect())
    }

    /// Since when the oldest of them waits that the plan does not take up.
    pub(crate) fn since(&self, plan: &SealPlan) -> Option<u64> {
        let stays = |stream: &StreamId| {
            let found = plan.streams.binary_search_by_key(stream, |s| s.stream);
            found.is_err()
        };
        let left = self.0.iter().filter(|(stream, _)| stays(stream));
        left.map(|(_, since_us)| *since_us).min()
    }
}

/// Since when records of a stream that cannot be read may wait: none where none are known to. Of a closed stream none
/// are expected.
pub(crate) fn unread_since(state: Option<&SealedStream>) -> Option<u64> {
    let waits =
        |known: &&SealedStream| known.standing == Standing::Refused || expects_events(known);
    state.filter(waits).map(|known| known.last_sealed_us)
}

impl Sealer {
    /// Everything that was recorded before this time was looked at by runs that got to their end: what a run leaves
    /// that does not is younger. Before the first such run, the hour in which the first stream was registered; none where
    /// that is not known.
    pub(crate) async fn whole_until(&self, head: &Head) -> Option<u64> {
        match head.position.listed_until_us {
            0 => {
                let hours = self.ports.audit.registration_hours().await.ok()?;
                // Hour 0 has the streams that tell no time.
                let first = hours.into_iter().find(|hour| *hour > 0)?;
                Some(first.saturating_mul(crate::gather::HOUR_US))
            }
            listed_us => Some(listed_us),
        }
    }
}
