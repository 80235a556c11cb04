//! Proofs that events are in the log.

use std::collections::BTreeMap;

use audit::LeafHash;
use audit::proof_file::ProofFile;
use audit::tiles::{TileId, inclusion_tiles};
use futures::stream::{self, StreamExt, TryStreamExt};
use web::ApiError;

use crate::function::AuditQuery;
use crate::head::Head;
use crate::read::AT_ONCE;
use crate::sealed::TileFault;

impl AuditQuery {
    /// The proof that `leaf` stands at `index` of the log, verified: a wrong one is never given.
    pub(crate) async fn prove(
        &self,
        leaf: LeafHash,
        index: u64,
        head: &Head,
    ) -> Result<ProofFile, ApiError> {
        let Some(note) = &head.note else {
            return Err(ApiError::internal());
        };
        let read =
            |tile: TileId| async move { Ok::<_, ApiError>((tile, self.read_tile(tile).await?)) };
        let tiles: BTreeMap<TileId, Result<Vec<u8>, TileFault>> =
            stream::iter(inclusion_tiles(head.checkpoint.size, index))
                .map(read)
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
        let reader = |tile: TileId| {
            let bytes = tiles.get(&tile).cloned();
            bytes.unwrap_or_else(|| Err("it was not asked for".to_owned()))
        };
        match ProofFile::make(note, index, leaf, reader) {
            Ok(proof) => Ok(proof),
            Err(error) => {
                let place = format!("{} leaf {index}", self.origin);
                Err(self.corrupt_log(place, error.to_string()).await)
            }
        }
    }
}
