use domain::ports::{Claim, ClaimKey, ClaimToken, RequestClaims};
use domain::{PrincipalId, RequestId, Sha256Digest};
use futures::future::join_all;

use super::assert_conflict;
use crate::build::random;
use crate::clock::FixedClock;

const LEASE_US: u64 = 1_000_000;
const DAY_US: u64 = 86_400_000_000;

/// What [`RequestClaims`] promises, over request ids of its own.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn claims_contract(claims: &dyn RequestClaims) {
    check_answering(claims).await;
    check_who_may_answer(claims).await;
    check_lapsed_lease(claims).await;
    check_releasing(claims).await;
    check_expiry(claims).await;
    check_many_at_once(claims).await;
}

fn fresh_key() -> ClaimKey {
    let request: [u8; 8] = random();
    ClaimKey {
        principal: PrincipalId::parse("anna").expect("a principal"),
        request: RequestId::parse(&format!("{:x}", u64::from_be_bytes(request)))
            .expect("a request id"),
    }
}

fn now() -> u64 {
    FixedClock::default().0
}

fn payload() -> Sha256Digest {
    Sha256Digest::of(b"payload")
}

fn other_payload() -> Sha256Digest {
    Sha256Digest::of(b"other")
}

async fn claim(
    claims: &dyn RequestClaims,
    key: &ClaimKey,
    payload: Sha256Digest,
    now_us: u64,
) -> Claim {
    claims
        .claim(key, payload, now_us, LEASE_US)
        .await
        .expect("a claim")
}

async fn win(claims: &dyn RequestClaims, key: &ClaimKey, now_us: u64) -> ClaimToken {
    match claim(claims, key, payload(), now_us).await {
        Claim::Won(token) => token,
        other => panic!("expected to win the claim, found {other:?}"),
    }
}

async fn check_answering(claims: &dyn RequestClaims) {
    for answer in [Vec::new(), vec![0, 255, 10], vec![7; 100_000]] {
        let key = fresh_key();
        let token = win(claims, &key, now()).await;
        assert_eq!(
            claim(claims, &key, payload(), now()).await,
            Claim::InProgress
        );
        assert_eq!(
            claim(claims, &key, other_payload(), now()).await,
            Claim::Mismatch
        );
        assert_eq!(
            claims.answer(&key, token, &answer, now() + DAY_US).await,
            Ok(())
        );
        let expected = Claim::Answered(answer.clone());
        assert_eq!(
            claim(claims, &key, payload(), now()).await,
            expected,
            "byte for byte"
        );
        assert_eq!(
            claim(claims, &key, other_payload(), now()).await,
            Claim::Mismatch
        );
        let again = claims.answer(&key, token, &answer, now() + DAY_US).await;
        assert_eq!(again, Ok(()), "the same answer again is a success");
        let other = claims
            .answer(&key, token, b"another answer", now() + DAY_US)
            .await;
        assert_conflict(&other, "another answer to what was answered");
        assert_eq!(
            claim(claims, &key, payload(), now()).await,
            expected,
            "a conflict changes nothing"
        );
    }
}

async fn check_who_may_answer(claims: &dyn RequestClaims) {
    let key = fresh_key();
    let unclaimed = claims
        .answer(&key, ClaimToken(1), b"answer", now() + DAY_US)
        .await;
    assert_conflict(&unclaimed, "an answer without a claim");
    let token = win(claims, &key, now()).await;
    let forged = ClaimToken(token.0.wrapping_add(1));
    let result = claims.answer(&key, forged, b"answer", now() + DAY_US).await;
    assert_conflict(&result, "an answer under another token");
    assert_eq!(
        claim(claims, &key, payload(), now()).await,
        Claim::InProgress,
        "the claim stands"
    );

    let bert = ClaimKey {
        principal: PrincipalId::parse("bert").expect("a principal"),
        ..key.clone()
    };
    let result = claims.claim(&bert, other_payload(), now(), LEASE_US).await;
    assert!(
        matches!(result, Ok(Claim::Won(_))),
        "another caller's ids are other ids: {result:?}"
    );
    assert_eq!(
        claims.answer(&key, token, b"answer", now() + DAY_US).await,
        Ok(())
    );
}

async fn check_lapsed_lease(claims: &dyn RequestClaims) {
    let key = fresh_key();
    let first = win(claims, &key, now()).await;
    let before = now() + LEASE_US - 1;
    assert_eq!(
        claim(claims, &key, payload(), before).await,
        Claim::InProgress,
        "the lease runs"
    );
    let after = now() + LEASE_US + 1;
    let second = win(claims, &key, after).await;
    assert_ne!(first, second, "a claim that is won anew has another token");
    assert_eq!(
        claim(claims, &key, payload(), after).await,
        Claim::InProgress,
        "the new lease runs"
    );
    assert_conflict(
        &claims.answer(&key, first, b"late", after + DAY_US).await,
        "a token that was overtaken",
    );
    assert_eq!(
        claims.release(&key, first).await,
        Ok(()),
        "a token that was overtaken releases nothing"
    );
    assert_eq!(
        claim(claims, &key, payload(), after).await,
        Claim::InProgress
    );
    assert_eq!(
        claims.answer(&key, second, b"answer", after + DAY_US).await,
        Ok(())
    );
    assert_conflict(
        &claims.answer(&key, first, b"answer", after + DAY_US).await,
        "an overtaken token, after all",
    );
    assert_eq!(
        claim(claims, &key, payload(), after).await,
        Claim::Answered(b"answer".to_vec())
    );
}

async fn check_releasing(claims: &dyn RequestClaims) {
    let key = fresh_key();
    let first = win(claims, &key, now()).await;
    assert_eq!(claims.release(&key, first).await, Ok(()));
    assert_eq!(
        claims.release(&key, first).await,
        Ok(()),
        "releasing twice does nothing more"
    );
    let second = win(claims, &key, now()).await;
    assert_conflict(
        &claims.answer(&key, first, b"late", now() + DAY_US).await,
        "a claim that was given back",
    );
    assert_eq!(
        claims.answer(&key, second, b"answer", now() + DAY_US).await,
        Ok(())
    );
    assert_eq!(
        claims.release(&key, second).await,
        Ok(()),
        "what was answered is not released"
    );
    assert_eq!(
        claim(claims, &key, payload(), now()).await,
        Claim::Answered(b"answer".to_vec())
    );
}

async fn check_expiry(claims: &dyn RequestClaims) {
    let key = fresh_key();
    let token = win(claims, &key, now()).await;
    let expires = now() + DAY_US;
    assert_eq!(claims.answer(&key, token, b"old", expires).await, Ok(()));
    let answered = Claim::Answered(b"old".to_vec());
    assert_eq!(
        claim(claims, &key, payload(), expires - 1).await,
        answered,
        "until it expires"
    );
    let result = claim(claims, &key, other_payload(), expires + 1).await;
    let Claim::Won(token) = result else {
        panic!("after it expired the id is free, found {result:?}")
    };
    assert_eq!(
        claims.answer(&key, token, b"new", expires + DAY_US).await,
        Ok(())
    );
    let result = claim(claims, &key, other_payload(), expires + 1).await;
    assert_eq!(result, Claim::Answered(b"new".to_vec()));
}

async fn check_many_at_once(claims: &dyn RequestClaims) {
    for _ in 0..4 {
        let key = fresh_key();
        let results = join_all((0..64).map(|_| claim(claims, &key, payload(), now()))).await;
        let won = results
            .iter()
            .filter(|result| matches!(result, Claim::Won(_)))
            .count();
        let waiting = results
            .iter()
            .filter(|result| **result == Claim::InProgress)
            .count();
        assert_eq!(
            (won, waiting),
            (1, 63),
            "of 64 concurrent claims exactly one wins"
        );
    }
    // Answers that are written together are told apart.
    let keys: Vec<ClaimKey> = (0..64).map(|_| fresh_key()).collect();
    let answers = join_all(keys.iter().map(|key| async move {
        let token = win(claims, key, now()).await;
        claims
            .answer(key, token, key.request.as_str().as_bytes(), now() + DAY_US)
            .await
    }))
    .await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    for key in &keys {
        let expected = Claim::Answered(key.request.as_str().as_bytes().to_vec());
        assert_eq!(claim(claims, key, payload(), now()).await, expected);
    }
}
