//! What a stream brings into a run, and how much of the run it gets.

use ed25519_dalek::VerifyingKey;

use super::{MAX_FINDINGS, PlanSealError, SealRules, SealedStream, Standing, StreamPage};
use crate::stream::{COMMAND_HOST, MAX_ENTRY_BYTES, PublicKey, Record, SignedRegistration};
use crate::verify::open_registration;

/// A stream's part in a run.
pub(super) struct Turn {
    pub(super) page: StreamPage,
    pub(super) way: Way,
    /// Leaves that it would take, or 1 for what only a seal says.
    pub(super) need: u64,
    tree_size: u64,
}

/// What is done with a stream.
pub(super) enum Way {
    /// Its next records are sealed; there may be none.
    Continue(SealedStream, VerifyingKey),
    /// Nothing came for long.
    Close(SealedStream),
    /// Its registration is sealed, and then its records.
    Register(SignedRegistration, PublicKey, VerifyingKey),
    /// Nothing vouches for it, and that is to be reported.
    Refuse(String),
    /// Nothing vouches for it, as is reported already.
    Wait,
}

impl Turn {
    /// Looks at a page; nothing of the records.
    pub(super) fn of(
        mut page: StreamPage,
        rules: &SealRules<'_>,
        now_us: u64,
    ) -> Result<Self, PlanSealError> {
        let stream = page.stream;
        let known = page.known.as_ref();
        if known.is_some_and(|known| known.stream != stream) {
            return Err(PlanSealError::State(stream));
        }
        let tree_size = known.map_or(0, |known| known.tree_size);
        let records = page.records.len() as u64;
        let (way, need) = match known.map(|known| (known, known.standing)) {
            Some((known, Standing::Registered { public_key, .. })) => {
                let key = VerifyingKey::from_bytes(&public_key.0)
                    .map_err(|_| PlanSealError::State(stream))?;
                let silent_us = now_us.saturating_sub(known.last_sealed_us);
                let idle = known.end.is_none() && silent_us > rules.idle_after_us;
                if records == 0 && idle {
                    (Way::Close(known.clone()), 1)
                } else {
                    (Way::Continue(known.clone(), key), records)
                }
            }
            refused => match register(page.stream, page.registration.take(), rules) {
                Ok(way) => (way, records.saturating_add(1)),
                Err(_) if refused.is_some() => (Way::Wait, 0),
                Err(reason) => (Way::Refuse(reason), 1),
            },
        };
        Ok(Self {
            page,
            way,
            need,
            tree_size,
        })
    }

    /// The records that fit into a share of the run, and the key of their stream; none where there is no right one.
    pub(super) fn records(&self, share: u64) -> Option<(&VerifyingKey, &[Record])> {
        let (key, share) = match &self.way {
            Way::Continue(_, key) => (key, share),
            Way::Register(.., key) => (key, share.saturating_sub(1)),
            Way::Close(..) | Way::Refuse(_) | Way::Wait => return None,
        };
        let count = usize::try_from(share).unwrap_or(usize::MAX);
        let records = &self.page.records;
        Some((key, &records[..records.len().min(count)]))
    }
}

/// Checks a registration; says why it is not sealed.
fn register(
    stream: crate::StreamId,
    signed: Option<SignedRegistration>,
    rules: &SealRules<'_>,
) -> Result<Way, String> {
    let signed = signed.ok_or("no registration vouches for the stream")?;
    if signed.registration.len() > MAX_ENTRY_BYTES {
        return Err(format!(
            "the registration is longer than {MAX_ENTRY_BYTES} bytes"
        ));
    }
    let (registration, key) =
        open_registration(&signed, rules.trusted).map_err(|fault| fault.to_string())?;
    if registration.stream != stream {
        let other = registration.stream;
        return Err(format!("the registration is that of stream {other}"));
    }
    if rules.commands_only.contains(&signed.key_id) && !registration.host.starts_with(COMMAND_HOST)
    {
        return Err(format!(
            "the registration names the host {:?}, and the key {:?} vouches for people's commands alone",
            registration.host, signed.key_id
        ));
    }
    Ok(Way::Register(signed, registration.public_key, key))
}

/// How much of a run each stream gets: equal shares, of which what a stream does not need goes to the others.
pub(super) fn shares(turns: &[Turn], room: u64) -> Vec<u64> {
    let mut order: Vec<usize> = (0..turns.len()).filter(|at| turns[*at].need > 0).collect();
    // A further seal is due after 256 streams at the latest, and after 16 records with two findings each: with what is
    // set aside for them, the streams that come last lose nothing to what was wrong in the first ones.
    let seals = 1 + (order.len() as u64).min(room) / 128;
    let leaves = room.saturating_sub(seals);
    let mut rest = leaves - leaves / (MAX_FINDINGS as u64 / 2);
    let mut shares = vec![0; turns.len()];
    order.sort_by_key(|at| (turns[*at].need, *at));
    let mut small = 0;
    for at in &order {
        let need = turns[*at].need;
        if need > rest / (order.len() - small) as u64 {
            break;
        }
        shares[*at] = need;
        rest -= need;
        small += 1;
    }
    let mut large = order.split_off(small);
    large.sort_by_key(|at| (turns[*at].tree_size, *at));
    let count = large.len() as u64;
    for (turn, at) in large.into_iter().enumerate() {
        shares[at] = rest / count + u64::from((turn as u64) < rest % count);
    }
    shares
}
