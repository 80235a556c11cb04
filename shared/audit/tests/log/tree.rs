//! The tree, held against `ct-merkle`.

use audit::canonical::leaf_hash;
use audit::tiles::TreeReader;
use audit::tree::{
    Frontier, Hash, VerifyProofError, consistency_path, empty_root, inclusion_path, node_hash,
    root_of, verify_consistency, verify_inclusion,
};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use crate::tiles::tiles_of;

type Oracle = MemoryBackedTree<Sha256, Vec<u8>>;

fn entry(n: usize) -> Vec<u8> {
    format!("entry {n}").into_bytes()
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&entry(n))).collect()
}

fn oracle(count: usize) -> Oracle {
    let mut tree = Oracle::new();
    (0..count).for_each(|n| tree.push(entry(n)));
    tree
}

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    bytes.as_chunks::<32>().0.to_vec()
}

#[test]
fn the_test_tree_of_certificate_transparency_has_its_known_roots() {
    let inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let leaves: Vec<Hash> = inputs
        .iter()
        .map(|input| leaf_hash(&hex::decode(input).unwrap()))
        .collect();
    assert_eq!(
        hex::encode(empty_root()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let known = [
        (
            1,
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        ),
        (
            2,
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        ),
        (
            3,
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        ),
        (
            8,
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ];
    for (size, root) in known {
        assert_eq!(hex::encode(root_of(&leaves[..size])), root, "{size}");
    }
}

#[test]
fn every_proof_of_every_small_tree_holds_and_is_the_oracle_s() {
    for size in 1..=70_usize {
        let (all, oracle) = (leaves(size), oracle(size));
        let root = root_of(&all);
        assert_eq!(
            root.as_slice(),
            oracle.root().as_bytes().as_slice(),
            "{size}"
        );
        let tiles = tiles_of(&all);
        let mut tree = TreeReader::new(size as u64, &tiles);
        for (index, leaf) in all.iter().enumerate() {
            let proof = tree.prove_inclusion(index as u64).unwrap();
            assert_eq!(
                proof,
                hashes(oracle.prove_inclusion(index).as_bytes()),
                "{index} of {size}"
            );
            verify_inclusion(size as u64, index as u64, leaf, &proof, &root).unwrap();
        }
        for older in 1..=size {
            let proof = tree.prove_consistency(older as u64).unwrap();
            let expected = oracle.prove_consistency(size - older);
            assert_eq!(proof, hashes(expected.as_bytes()), "{older} of {size}");
            let before = root_of(&all[..older]);
            verify_consistency((older as u64, &before), (size as u64, &root), &proof).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_tree_of_any_size_agrees_with_the_oracle(size in 1_usize..3000, at: prop::sample::Index, before: prop::sample::Index) {
        let (index, older) = (at.index(size), before.index(size) + 1);
        let (all, oracle) = (leaves(size), oracle(size));
        let mut frontier = Frontier::new();
        for leaf in &all {
            frontier.append(*leaf);
        }
        let root = frontier.root();
        let expected = oracle.root();
        prop_assert_eq!(root.as_slice(), expected.as_bytes().as_slice());
        prop_assert_eq!(root, root_of(&all));
        let tiles = tiles_of(&all);
        let mut tree = TreeReader::new(size as u64, &tiles);
        prop_assert_eq!(tree.root().unwrap(), root);
        let inclusion = tree.prove_inclusion(index as u64).unwrap();
        prop_assert_eq!(&inclusion, &hashes(oracle.prove_inclusion(index).as_bytes()));
        let consistency = tree.prove_consistency(older as u64).unwrap();
        prop_assert_eq!(&consistency, &hashes(oracle.prove_consistency(size - older).as_bytes()));
        verify_inclusion(size as u64, index as u64, &all[index], &inclusion, &root).unwrap();
        let before = root_of(&all[..older]);
        verify_consistency((older as u64, &before), (size as u64, &root), &consistency).unwrap();
    }

    #[test]
    fn no_altered_proof_holds(size in 2_usize..600, at: prop::sample::Index, bit: prop::sample::Index) {
        let index = at.index(size);
        let all = leaves(size);
        let root = root_of(&all);
        let tiles = tiles_of(&all);
        let mut tree = TreeReader::new(size as u64, &tiles);
        let good = tree.prove_inclusion(index as u64).unwrap();
        let check = |index: u64, leaf: &Hash, proof: &[Hash]| verify_inclusion(size as u64, index, leaf, proof, &root);
        let mut flipped = good.clone();
        let place = bit.index(good.len() * 256);
        flipped[place / 256][place % 256 / 8] ^= 1 << (place % 8);
        prop_assert_eq!(check(index as u64, &all[index], &flipped), Err(VerifyProofError::Root));
        let other = (index + 1) % size;
        prop_assert!(check(other as u64, &all[index], &good).is_err());
        prop_assert_eq!(check(index as u64, &all[other], &good), Err(VerifyProofError::Root));
        let short = VerifyProofError::Length { expected: good.len(), found: good.len() - 1 };
        prop_assert_eq!(check(index as u64, &all[index], &good[1..]), Err(short));
        prop_assert!(check(size as u64, &all[index], &good).is_err());
    }

    #[test]
    fn no_altered_growth_holds(size in 2_usize..600, before: prop::sample::Index, bit: prop::sample::Index) {
        let older = before.index(size - 1) + 1;
        let all = leaves(size);
        let (root, older_root) = (root_of(&all), root_of(&all[..older]));
        let tiles = tiles_of(&all);
        let good = TreeReader::new(size as u64, &tiles).prove_consistency(older as u64).unwrap();
        let check = |a: (u64, &Hash), b: (u64, &Hash), proof: &[Hash]| verify_consistency(a, b, proof);
        let (a, b) = ((older as u64, &older_root), (size as u64, &root));
        let mut flipped = good.clone();
        let place = bit.index(good.len() * 256);
        flipped[place / 256][place % 256 / 8] ^= 1 << (place % 8);
        prop_assert!(check(a, b, &flipped).is_err());
        prop_assert!(check((older as u64, &root), b, &good).is_err());
        prop_assert!(check(a, (size as u64, &older_root), &good).is_err());
        prop_assert!(check(a, b, &good[1..]).is_err());
        prop_assert_eq!(check(b, a, &good), Err(VerifyProofError::Shrunk { older: size as u64, newer: older as u64 }));
    }

    #[test]
    fn proofs_of_any_numbers_are_refused_without_a_panic(
        size: u64, index: u64, older: u64, seeds in prop::collection::vec(any::<u8>(), 0..70)
    ) {
        let proof: Vec<Hash> = seeds.iter().map(|seed| [*seed; 32]).collect();
        prop_assert!(verify_inclusion(size, index, &[1; 32], &proof, &[2; 32]).is_err());
        prop_assert!(verify_consistency((older, &[3; 32]), (size, &[2; 32]), &proof).is_err());
        if let Some(path) = inclusion_path(size, index) {
            prop_assert!(path.len() <= 64);
        }
        if let Some(path) = consistency_path(older, size) {
            prop_assert!(path.len() <= 65);
        }
    }
}

#[test]
fn growth_from_nothing_needs_no_hashes_and_the_empty_root() {
    let root = node_hash(&[1; 32], &[2; 32]);
    assert_eq!(
        verify_consistency((0, &empty_root()), (2, &root), &[]),
        Ok(())
    );
    assert_eq!(
        verify_consistency((0, &[9; 32]), (2, &root), &[]),
        Err(VerifyProofError::OlderRoot)
    );
    assert_eq!(
        verify_consistency((2, &root), (2, &[9; 32]), &[]),
        Err(VerifyProofError::Root)
    );
}
