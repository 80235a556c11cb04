use proptest::prelude::*;

use super::*;

/// Lengths at which the number of chunks, or whether the last one is empty, changes.
const LENGTHS: [usize; 8] = [
    0,
    1,
    CHUNK_SIZE - 1,
    CHUNK_SIZE,
    CHUNK_SIZE + 1,
    2 * CHUNK_SIZE - 1,
    2 * CHUNK_SIZE,
    2 * CHUNK_SIZE + 1,
];

fn key() -> DataKey {
    DataKey::new([7; 32])
}

fn sealed(plain: &[u8]) -> Vec<u8> {
    encrypt(&key(), &Salt([9; 24]), b"context", plain).unwrap()
}

fn message(len: usize) -> Vec<u8> {
    (0..len).map(|i| (7 * i + i / 251) as u8).collect()
}

#[test]
fn every_length_around_a_chunk_comes_back() {
    for len in LENGTHS {
        let plain = message(len);
        let sealed = sealed(&plain);
        assert_eq!(
            sealed.len() as u64,
            sealed_len(len as u64).unwrap(),
            "{len}"
        );
        assert_eq!(
            *decrypt(&key(), b"context", &sealed).unwrap(),
            plain,
            "{len}"
        );
    }
}

#[test]
fn a_full_chunk_is_followed_by_an_empty_one() {
    assert_eq!(
        sealed(&message(CHUNK_SIZE)).len(),
        HEADER_SIZE + SEALED_CHUNK_SIZE + TAG_SIZE
    );
}

#[test]
fn a_container_without_its_last_chunk_is_truncated() {
    for len in LENGTHS {
        let sealed = sealed(&message(len));
        let cut = HEADER_SIZE + len / CHUNK_SIZE * SEALED_CHUNK_SIZE;
        let expected = ContainerError::Truncated { found: cut as u64 };
        assert_eq!(
            decrypt(&key(), b"context", &sealed[..cut]),
            Err(expected),
            "{len}"
        );
    }
}

#[test]
fn lengths_that_no_message_has_are_told_apart() {
    let sealed = sealed(&message(CHUNK_SIZE));
    for found in [0, 1, HEADER_SIZE - 1] {
        let expected = ContainerError::TooShort {
            found: found as u64,
        };
        assert_eq!(decrypt(&key(), b"context", &sealed[..found]), Err(expected));
    }
    for (found, chunk) in [
        (HEADER_SIZE + 1, 0),
        (HEADER_SIZE + 15, 0),
        (HEADER_SIZE + SEALED_CHUNK_SIZE + 1, 1),
        (HEADER_SIZE + SEALED_CHUNK_SIZE + 15, 1),
    ] {
        let expected = ContainerError::ImpossibleLength {
            found: found as u64,
            chunk,
        };
        assert_eq!(decrypt(&key(), b"context", &sealed[..found]), Err(expected));
    }
}

#[test]
fn any_truncation_is_refused() {
    let sealed = sealed(&message(CHUNK_SIZE + 40));
    for len in (0..200).chain(SEALED_CHUNK_SIZE - 20..sealed.len()) {
        assert!(
            decrypt(&key(), b"context", &sealed[..len]).is_err(),
            "{len}"
        );
    }
}

#[test]
fn another_key_or_context_fails_at_the_commitment() {
    let sealed = sealed(b"model");
    let mismatch = Err(ContainerError::CommitmentMismatch);
    assert_eq!(
        decrypt(&DataKey::new([8; 32]), b"context", &sealed),
        mismatch
    );
    assert_eq!(decrypt(&key(), b"contexu", &sealed), mismatch);
    assert_eq!(decrypt(&key(), b"", &sealed), mismatch);
}

#[test]
fn the_commitment_is_checked_before_any_chunk() {
    // Both the header and chunk 0 are wrong: the header is what is reported.
    let mut sealed = sealed(b"model");
    sealed[30] ^= 1;
    sealed[HEADER_SIZE] ^= 1;
    assert_eq!(
        decrypt(&key(), b"context", &sealed),
        Err(ContainerError::CommitmentMismatch)
    );
}

#[test]
fn a_changed_chunk_is_named() {
    let whole = sealed(&message(2 * CHUNK_SIZE));
    for (at, chunk) in [
        (HEADER_SIZE, 0),
        (HEADER_SIZE + SEALED_CHUNK_SIZE - 1, 0),
        (HEADER_SIZE + SEALED_CHUNK_SIZE, 1),
        (whole.len() - 1, 2),
    ] {
        let mut changed = whole.clone();
        changed[at] ^= 0x80;
        let expected = ContainerError::ChunkUnauthentic { chunk };
        assert_eq!(decrypt(&key(), b"context", &changed), Err(expected), "{at}");
    }
}

#[test]
fn chunks_cannot_change_places() {
    let whole = sealed(&message(2 * CHUNK_SIZE + 1));
    let (first, second) = (HEADER_SIZE, HEADER_SIZE + SEALED_CHUNK_SIZE);
    let swapped = [
        &whole[..first],
        &whole[second..second + SEALED_CHUNK_SIZE],
        &whole[first..second],
        &whole[second + SEALED_CHUNK_SIZE..],
    ]
    .concat();
    assert_eq!(
        decrypt(&key(), b"context", &swapped),
        Err(ContainerError::ChunkUnauthentic { chunk: 0 })
    );
}

#[test]
fn single_chunks_open_in_any_order() {
    let plain = message(2 * CHUNK_SIZE + 5);
    let sealed = sealed(&plain);
    let head = &sealed[..HEADER_SIZE];
    let opener = ChunkOpener::unlock(&key(), b"context", head, sealed.len() as u64).unwrap();
    assert_eq!(
        (opener.chunk_count(), opener.plain_len()),
        (3, plain.len() as u64)
    );
    for chunk in [2, 0, 1] {
        let range = opener.chunk_range(chunk).unwrap();
        let bytes = &sealed[range.start as usize..range.end as usize];
        let start = chunk as usize * CHUNK_SIZE;
        let expected = &plain[start..plain.len().min(start + CHUNK_SIZE)];
        assert_eq!(*opener.open_chunk(chunk, bytes).unwrap(), expected);
        let other = (chunk + 1) % 3;
        assert_eq!(
            opener.open_chunk(other, bytes),
            Err(ContainerError::ChunkUnauthentic { chunk: other })
        );
    }
    assert_eq!(
        opener.chunk_range(3),
        Err(ContainerError::ChunkOutOfRange { chunk: 3, count: 3 })
    );
}

#[test]
fn a_length_over_2_to_the_38_chunks_is_refused() {
    let most = MAX_CHUNKS * CHUNK_SIZE as u64;
    assert!(sealed_len(most - 1).is_ok());
    assert_eq!(sealed_len(most), Err(ContainerError::TooLong));
    let head = sealed(b"");
    let too_long = HEADER_SIZE as u64 + MAX_CHUNKS * SEALED_CHUNK_SIZE as u64 + 16;
    let unlock = |len| ChunkOpener::unlock(&key(), b"context", &head, len).map(|_| ());
    assert_eq!(unlock(too_long), Err(ContainerError::TooLong));
    assert_eq!(unlock(too_long - SEALED_CHUNK_SIZE as u64), Ok(()));
}

#[test]
fn the_chunk_number_reaches_the_nonce_big_endian() {
    let derived = Derived::from_key(&key(), &Salt([9; 24]), b"context");
    let first = derived.nonce(0);
    let far = derived.nonce(0x01_0203_0405);
    let difference: Vec<u8> = first.iter().zip(far).map(|(a, b)| a ^ b).collect();
    assert_eq!(difference, [0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_data_key_has_32_bytes_and_is_never_printed() {
    for found in [0, 31, 33] {
        let error = DataKey::from_slice(&vec![0; found]).map(|_| ());
        assert_eq!(error, Err(ContainerError::KeyLength { found }));
    }
    assert_eq!(
        DataKey::from_slice(&[7; 32]).unwrap().expose(),
        key().expose()
    );
    assert_eq!(format!("{:?}", key()), "DataKey(..)");
}

proptest! {
    #[test]
    fn what_is_encrypted_comes_back(
        key in any::<[u8; 32]>(),
        salt in any::<[u8; 24]>(),
        context in prop::collection::vec(any::<u8>(), 0..200),
        len in prop_oneof![0_usize..100, CHUNK_SIZE - 40..CHUNK_SIZE + 40, 2 * CHUNK_SIZE - 40..3 * CHUNK_SIZE],
    ) {
        let (key, plain) = (DataKey::new(key), message(len));
        let sealed = encrypt(&key, &Salt(salt), &context, &plain).unwrap();
        prop_assert_eq!(&*decrypt(&key, &context, &sealed).unwrap(), &plain);
    }

    #[test]
    fn any_flipped_bit_is_refused(len in 0_usize..40, at in any::<prop::sample::Index>(), bit in 0..8) {
        for len in [len, CHUNK_SIZE - 20 + len] {
            let mut sealed = sealed(&message(len));
            let at = at.index(sealed.len());
            sealed[at] ^= 1_u8 << bit;
            prop_assert!(decrypt(&key(), b"context", &sealed).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_never_open_and_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        repeat in prop_oneof![Just(1_usize), Just(100)],
    ) {
        prop_assert!(decrypt(&key(), b"context", &bytes.repeat(repeat)).is_err());
    }

    #[test]
    fn arbitrary_chunks_under_a_true_header_never_open_and_never_panic(
        chunks in prop::collection::vec(any::<u8>(), 0..400),
        repeat in prop_oneof![Just(1_usize), Just(100)],
    ) {
        let header = &sealed(b"")[..HEADER_SIZE];
        let forged = [header, &chunks.repeat(repeat)].concat();
        prop_assert!(decrypt(&key(), b"context", &forged).is_err());
    }
}
