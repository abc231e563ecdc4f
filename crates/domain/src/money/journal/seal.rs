//! Sealed heads: at intervals the centre fixes where every journal that grew stood, in one hash that follows
//! the seal before it. Whoever keeps one seal can prove later that no entry before it was changed, and an entry
//! can be shown to stand under a seal without showing any other card's.
//!
//! The root is a Merkle tree as RFC 6962 2.1 makes it, over the heads in the order of their chains; the seal is
//! a hash over its number, time, root and the hash of the seal before it. Signing is the centre's affair.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::bytes::Sha256Digest;

/// The last entry of a chain when it was sealed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SealedHead {
    /// The chain, as stores write it.
    pub chain: String,
    /// The entry's place in the chain.
    pub number: u64,
    /// The entry's hash.
    pub hash: Sha256Digest,
}

/// A seal over the heads of the chains that grew since the seal before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: jiff::Timestamp,
    /// The hash of the seal before it; zero for the first.
    pub previous: Sha256Digest,
    /// The root over the heads.
    pub root: Sha256Digest,
    /// How many heads it is over.
    pub heads: u64,
}

/// A seal as it is kept: with its hash, which the centre signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedSeal {
    /// The seal.
    pub seal: Seal,
    /// The name of the key.
    pub key: String,
    /// The signature over [`Seal::signed_bytes`], in hexadecimal.
    pub signature: String,
}

/// What is wrong with a seal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealBroken {
    /// It does not follow the seal before it.
    #[error("seal {0} does not follow the one before it")]
    DoesNotFollow(u64),
    /// The heads are not those that it was made over.
    #[error("the heads of seal {0} are not those that were sealed")]
    Heads(u64),
    /// The signature is wrong.
    #[error("the signature of seal {0} is not the centre's")]
    Signature(u64),
}

/// The way from a head to the root: the hash beside it on each level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadProof {
    /// The head's place among the heads, from 0.
    pub index: u64,
    /// How many heads there are.
    pub heads: u64,
    /// The hashes, from the leaf up.
    pub path: Vec<Sha256Digest>,
}

impl SealedHead {
    fn leaf(&self) -> Sha256Digest {
        let mut hasher = Sha256::new();
        hasher.update([0]);
        hasher.update((self.chain.len() as u64).to_be_bytes());
        hasher.update(self.chain.as_bytes());
        hasher.update(self.number.to_be_bytes());
        hasher.update(self.hash.0);
        Sha256Digest(hasher.finalize().into())
    }
}

impl Seal {
    /// The hash before the first seal.
    pub const START: Sha256Digest = Sha256Digest([0; 32]);

    /// The seal over `heads` that follows `last`. The heads are put in the order of their chains.
    pub fn following(last: Option<&Self>, heads: &mut [SealedHead], at: jiff::Timestamp) -> Self {
        heads.sort();
        Self {
            number: last.map_or(1, |last| last.number + 1),
            at,
            previous: last.map_or(Self::START, Self::hash),
            root: root(heads),
            heads: heads.len() as u64,
        }
    }

    /// What the next seal follows.
    pub fn hash(&self) -> Sha256Digest {
        Sha256Digest(Sha256::digest(self.signed_bytes()).into())
    }

    /// What the centre signs.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"OpenTSM journal seal 1".to_vec();
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.at.as_nanosecond().to_be_bytes());
        bytes.extend(self.previous.0);
        bytes.extend(self.root.0);
        bytes.extend(self.heads.to_be_bytes());
        bytes
    }

    /// Checks that it follows `last` and is over these heads, which are in the order of their chains.
    pub fn check(&self, last: Option<&Self>, heads: &[SealedHead]) -> Result<(), SealBroken> {
        let number = last.map_or(1, |last| last.number + 1);
        if self.number != number || self.previous != last.map_or(Self::START, Self::hash) {
            return Err(SealBroken::DoesNotFollow(self.number));
        }
        if self.heads != heads.len() as u64 || self.root != root(heads) {
            return Err(SealBroken::Heads(self.number));
        }
        Ok(())
    }
}

/// The root over these heads.
pub fn root(heads: &[SealedHead]) -> Sha256Digest {
    tree(&heads.iter().map(SealedHead::leaf).collect::<Vec<_>>())
}

/// The proof that the head at `index` is among these; none when there is no such head.
pub fn prove(heads: &[SealedHead], index: usize) -> Option<HeadProof> {
    let mut leaves: &[Sha256Digest] = &heads.iter().map(SealedHead::leaf).collect::<Vec<_>>();
    let proof = HeadProof { index: index as u64, heads: heads.len() as u64, path: Vec::new() };
    let mut index = (index < leaves.len()).then_some(index)?;
    let mut path = Vec::new();
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(split(leaves.len()));
        let in_left = index < left.len();
        path.push(tree(if in_left { right } else { left }));
        (leaves, index) = if in_left { (left, index) } else { (right, index - left.len()) };
    }
    path.reverse();
    Some(HeadProof { path, ..proof })
}

impl HeadProof {
    /// The root that this head leads to.
    pub fn root(&self, head: &SealedHead) -> Option<Sha256Digest> {
        // Which side the head is on, from the root down.
        let (mut index, mut count) = ((self.index < self.heads).then_some(self.index)?, self.heads);
        let mut sides = Vec::new();
        while count > 1 {
            let left = split(usize::try_from(count).ok()?) as u64;
            let in_left = index < left;
            sides.push(in_left);
            (index, count) = if in_left { (index, left) } else { (index - left, count - left) };
        }
        if sides.len() != self.path.len() {
            return None;
        }
        let climbed =
            self.path.iter().zip(sides.iter().rev()).fold(head.leaf(), |hash, (beside, in_left)| {
                if *in_left { node(hash, *beside) } else { node(*beside, hash) }
            });
        Some(climbed)
    }
}

// RFC 6962 2.1: the left side is the largest power of two below the count.
const fn split(count: usize) -> usize {
    let power = count.next_power_of_two();
    if power == count { count / 2 } else { power / 2 }
}

fn tree(leaves: &[Sha256Digest]) -> Sha256Digest {
    match leaves {
        [] => Sha256Digest(Sha256::digest([]).into()),
        [leaf] => *leaf,
        several => {
            let (left, right) = several.split_at(split(several.len()));
            node(tree(left), tree(right))
        }
    }
}

fn node(left: Sha256Digest, right: Sha256Digest) -> Sha256Digest {
    let hash = Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0);
    Sha256Digest(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(count: u8) -> Vec<SealedHead> {
        let head =
            |n: u8| SealedHead { chain: format!("card/{n:03}"), number: 3, hash: Sha256Digest([n; 32]) };
        (0..count).map(head).collect()
    }

    #[test]
    fn each_head_is_proven_and_no_other() {
        for count in 0..=17 {
            let heads = heads(count);
            let root = root(&heads);
            for index in 0..usize::from(count) {
                let proof = prove(&heads, index).unwrap();
                assert_eq!(proof.root(&heads[index]), Some(root), "{index} of {count}");
                let changed = SealedHead { number: 4, ..heads[index].clone() };
                assert_ne!(proof.root(&changed), Some(root));
                if count > 1 {
                    let moved = HeadProof { index: (proof.index + 1) % u64::from(count), ..proof.clone() };
                    assert_ne!(moved.root(&heads[index]), Some(root));
                }
                let short = HeadProof { path: [proof.path, vec![root]].concat(), ..proof };
                assert_eq!(short.root(&heads[index]), None);
            }
            assert_eq!(prove(&heads, count.into()), None);
        }
    }

    #[test]
    fn seals_follow_each_other_over_what_was_sealed() {
        let mut first_heads = heads(3);
        first_heads.reverse();
        let first = Seal::following(None, &mut first_heads, jiff::Timestamp::UNIX_EPOCH);
        let second = Seal::following(Some(&first), &mut heads(1), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(first.check(None, &first_heads), Ok(()));
        assert_eq!(second.check(Some(&first), &heads(1)), Ok(()));
        assert_eq!(second.check(None, &heads(1)), Err(SealBroken::DoesNotFollow(2)));
        let rewritten = Seal { at: jiff::Timestamp::MAX, ..first.clone() };
        assert_eq!(second.check(Some(&rewritten), &heads(1)), Err(SealBroken::DoesNotFollow(2)));
        assert_eq!(first.check(None, &heads(2)), Err(SealBroken::Heads(1)));
    }
}
