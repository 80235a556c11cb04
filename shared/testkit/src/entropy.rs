//! Bytes that look random and are the same in every run.

use std::sync::{Mutex, PoisonError};

use domain::StoreError;
use domain::ports::Entropy;
use sha2::{Digest, Sha256};

/// SHA-256 of the seed and a counter, block by block. For tests only: whoever knows the seed knows the bytes.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    block: Mutex<u64>,
}

impl SeededEntropy {
    /// The bytes that belong to `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            block: Mutex::new(0),
        }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), StoreError> {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.chunks_mut(32) {
            let digest = Sha256::new()
                .chain_update(self.seed.to_be_bytes())
                .chain_update(block.to_be_bytes())
                .finalize();
            part.copy_from_slice(&digest[..part.len()]);
            *block += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(entropy: &SeededEntropy) -> [u8; 40] {
        let mut bytes = [0; 40];
        entropy.fill(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_seed_decides_and_nothing_repeats() {
        let (a, b) = (SeededEntropy::new(1), SeededEntropy::new(1));
        let first = bytes(&a);
        assert_eq!(first, bytes(&b));
        assert_ne!(first, bytes(&a));
        assert_ne!(first, bytes(&SeededEntropy::new(2)));
    }
}
