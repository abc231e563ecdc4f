//! Detached message signatures between organisations, and the SE-TSM's signed word about a session.
//!
//! ECDSA on P-256 with SHA-256 (FIPS 186-5, deterministic by RFC 6979) over method, path, timestamp,
//! serial and the body's digest. A receiver takes a message once, and only while it is fresh: not older
//! than the replay window and not older than the receiver's own start, so that forgetting the serials at
//! a restart opens nothing.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::DecodePrivateKey as _;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::HexBytes;

/// Header: the sender's institution number.
pub const INSTITUTION: &str = "x-tsm-institution";
/// Header: when the message was signed, RFC 3339.
pub const TIMESTAMP: &str = "x-tsm-timestamp";
/// Header: the message's serial.
pub const SERIAL: &str = "x-tsm-serial";
/// Header: the signature in hexadecimal, 64 bytes r and s.
pub const SIGNATURE: &str = "x-tsm-signature";

/// What is said of each header of a signed message, in the order in which they are written.
pub const HEADERS: [(&str, &str); 4] = [
    (INSTITUTION, "The sender's institution number."),
    (
        TIMESTAMP,
        "When the message was signed, RFC 3339, as it stands in the signed text; at most 300 seconds off.",
    ),
    (SERIAL, "A UUID in lower case with hyphens, drawn anew for each message and taken once."),
    (SIGNATURE, "ECDSA on P-256 with SHA-256: r and s, 32 bytes each, in hexadecimal."),
];

/// How a message between institutions is signed, in words.
pub fn in_words() -> String {
    let parts = SignedParts {
        method: "POST",
        path: "/peer/v1/payments?if=any",
        institution: "SP00000001",
        stamp: Stamp {
            at: Timestamp::from_second(1_790_000_000).unwrap_or_default(),
            serial: Uuid::from_u128(0xABC),
        },
        body: b"{}",
    };
    let text = String::from_utf8_lossy(&parts.to_bytes()).replace('\n', "\\n");
    format!(
        "ECDSA on P-256 with SHA-256 over a text of one line for each part, each with a line feed: the words \
         `OPENTSM-MESSAGE-1`, the method, the path with its query, the sender's number, the time, the serial, and the \
         SHA-256 of the body in lower-case hexadecimal. For example `{text}`. A message is taken once, within {} \
         seconds. Replies are not signed: the connection vouches for them.",
        WINDOW.as_secs()
    )
}

/// How old or young a message may be.
pub const WINDOW: SignedDuration = SignedDuration::from_secs(300);
/// How many serials are remembered. More messages than this within the window are refused.
const REMEMBERED: usize = 100_000;

/// Signs messages for one organisation. A hardware token can take its place.
pub trait MessageSigner: Send + Sync {
    /// Signs the bytes.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// A signing key in memory.
#[derive(Clone)]
pub struct SoftwareSigner(SigningKey);

impl SoftwareSigner {
    /// Reads a PKCS#8 key in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, p256::pkcs8::Error> {
        SigningKey::from_pkcs8_pem(pem).map(Self)
    }

    /// The public key, an uncompressed point.
    pub fn public_key(&self) -> HexBytes {
        HexBytes(self.0.verifying_key().to_sec1_point(false).as_bytes().to_vec())
    }
}

impl MessageSigner for SoftwareSigner {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.0.sign(message);
        signature.to_bytes().into()
    }
}

impl fmt::Debug for SoftwareSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SoftwareSigner")
    }
}

/// A public key that checks an organisation's messages: a point on P-256, uncompressed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageVerifier([u8; 65]);

impl MessageVerifier {
    /// Reads an uncompressed P-256 point.
    pub fn from_point(point: &[u8]) -> Result<Self, SignatureError> {
        let on_curve = VerifyingKey::from_sec1_bytes(point).map_err(|_| SignatureError::Key)?;
        let bytes = on_curve.to_sec1_point(false).as_bytes().try_into();
        bytes.map(Self).map_err(|_| SignatureError::Key)
    }

    /// Checks a signature, r and s, over a message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.0);
        key.verify(message, signature).map_err(|_| SignatureError::Wrong)
    }
}

/// Why a signed message was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing or unreadable.
    #[error("the header {0} of the signed message is missing or unreadable")]
    Header(&'static str),
    /// The public key is not a point on P-256.
    #[error("the public key is not an uncompressed point on P-256")]
    Key,
    /// The signature does not fit the message.
    #[error("the signature does not fit the message")]
    Wrong,
    /// Too old or too young.
    #[error("the message was signed outside the time window")]
    Stale,
    /// Taken before.
    #[error("the message was taken before")]
    Replayed,
    /// Too many messages within the window.
    #[error("too many signed messages arrived within the time window")]
    Crowded,
}

/// When a message was signed, and its serial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// When.
    pub at: Timestamp,
    /// The serial.
    pub serial: Uuid,
}

/// What is signed of a message.
#[derive(Clone, Copy, Debug)]
pub struct SignedParts<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// The sender's institution number.
    pub institution: &'a str,
    /// When, and the serial.
    pub stamp: Stamp,
    /// The body.
    pub body: &'a [u8],
}

impl SignedParts<'_> {
    /// The bytes that are signed: one line each, so that no two messages share them.
    fn to_bytes(self) -> Vec<u8> {
        let Self { method, path, institution, stamp, body } = self;
        let digest = hex::encode(Sha256::digest(body));
        let (at, serial) = (stamp.at, stamp.serial);
        format!("OPENTSM-MESSAGE-1\n{method}\n{path}\n{institution}\n{at}\n{serial}\n{digest}\n").into_bytes()
    }

    /// Signs the message and gives the four headers.
    pub fn sign(self, signer: &dyn MessageSigner) -> [(&'static str, String); 4] {
        [
            (INSTITUTION, self.institution.to_owned()),
            (TIMESTAMP, self.stamp.at.to_string()),
            (SERIAL, self.stamp.serial.to_string()),
            (SIGNATURE, hex::encode_upper(signer.sign(&self.to_bytes()))),
        ]
    }

    /// Checks the signature only; freshness is the [`ReplayWindow`]'s.
    pub fn verify(self, verifier: &MessageVerifier, signature: &str) -> Result<(), SignatureError> {
        let signature = hex::decode(signature).map_err(|_| SignatureError::Header(SIGNATURE))?;
        verifier.verify(&self.to_bytes(), &signature)
    }
}

impl Stamp {
    /// Reads the two headers.
    pub fn read(timestamp: Option<&str>, serial: Option<&str>) -> Result<Self, SignatureError> {
        let at = timestamp.and_then(|t| t.parse().ok()).ok_or(SignatureError::Header(TIMESTAMP))?;
        let serial = serial.and_then(|s| s.parse().ok()).ok_or(SignatureError::Header(SERIAL))?;
        Ok(Self { at, serial })
    }
}

/// Remembers what was taken within the window.
#[derive(Debug)]
pub struct ReplayWindow {
    opened: Timestamp,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    serials: HashSet<Uuid>,
    by_time: BTreeMap<(Timestamp, Uuid), ()>,
}

impl ReplayWindow {
    /// A window that takes nothing signed before `now`, apart from a second of clock difference.
    pub fn open(now: Timestamp) -> Self {
        let opened = now.checked_sub(SignedDuration::from_secs(1)).unwrap_or(now);
        Self { opened, taken: Mutex::default() }
    }

    /// Takes a message whose signature was verified, once.
    pub fn take(&self, stamp: Stamp, now: Timestamp) -> Result<(), SignatureError> {
        let age = now.duration_since(stamp.at);
        if age.abs() > WINDOW || stamp.at < self.opened {
            return Err(SignatureError::Stale);
        }
        let mut taken = self.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        taken.forget_before(now);
        if taken.serials.len() >= REMEMBERED {
            return Err(SignatureError::Crowded);
        }
        if !taken.serials.insert(stamp.serial) {
            return Err(SignatureError::Replayed);
        }
        taken.by_time.insert((stamp.at, stamp.serial), ());
        Ok(())
    }
}

impl Taken {
    fn forget_before(&mut self, now: Timestamp) {
        while let Some((&(at, serial), ())) = self.by_time.first_key_value() {
            if now.duration_since(at) <= WINDOW {
                return;
            }
            self.by_time.remove(&(at, serial));
            self.serials.remove(&serial);
        }
    }
}

/// The SE-TSM's signed word that a wallet certified itself for a secure element.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Assertion {
    /// The secure element.
    pub se_id: HexBytes,
    /// The bound number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msisdn: Option<String>,
    /// Until when it holds.
    pub expires_at: Timestamp,
}

impl Assertion {
    /// Signs it.
    pub fn sign(&self, signer: &dyn MessageSigner) -> String {
        let payload = serde_json::to_vec(self).expect("an assertion has only plain fields");
        let signature = signer.sign(&Self::signed_bytes(&payload));
        format!("{}.{}", hex::encode(payload), hex::encode(signature))
    }

    /// Reads and checks it.
    pub fn verify(text: &str, verifier: &MessageVerifier, now: Timestamp) -> Result<Self, SignatureError> {
        const FIELD: SignatureError = SignatureError::Header("authorization");
        let (payload, signature) = text.split_once('.').ok_or(FIELD)?;
        let payload = hex::decode(payload).map_err(|_| FIELD)?;
        let signature = hex::decode(signature).map_err(|_| FIELD)?;
        verifier.verify(&Self::signed_bytes(&payload), &signature)?;
        let assertion: Self = serde_json::from_slice(&payload).map_err(|_| FIELD)?;
        if assertion.expires_at <= now {
            return Err(SignatureError::Stale);
        }
        Ok(assertion)
    }

    fn signed_bytes(payload: &[u8]) -> Vec<u8> {
        [b"OPENTSM-SESSION-1\n".as_slice(), payload].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::SigningIdentity;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn parts(body: &[u8], serial: u128) -> SignedParts<'_> {
        let stamp = Stamp { at: time("2026-11-21T09:00:00Z"), serial: Uuid::from_u128(serial) };
        SignedParts { method: "POST", path: "/peer/v1/results", institution: "0001", stamp, body }
    }

    #[test]
    fn a_signature_covers_every_part() {
        let signer = SigningIdentity::generate().unwrap().signer().unwrap();
        let verifier = MessageVerifier::from_point(signer.public_key().as_bytes()).unwrap();
        let whole = parts(b"body", 1);
        let headers = whole.sign(&signer);
        let signature = &headers[3].1;
        assert_eq!(whole.verify(&verifier, signature), Ok(()));

        let other_time = Stamp { at: time("2026-11-21T09:00:01Z"), ..whole.stamp };
        let other_serial = Stamp { serial: Uuid::from_u128(2), ..whole.stamp };
        for changed in [
            SignedParts { method: "GET", ..whole },
            SignedParts { path: "/peer/v1/states", ..whole },
            SignedParts { institution: "0002", ..whole },
            SignedParts { stamp: other_time, ..whole },
            SignedParts { stamp: other_serial, ..whole },
            SignedParts { body: b"bodY", ..whole },
        ] {
            assert_eq!(changed.verify(&verifier, signature), Err(SignatureError::Wrong), "{changed:?}");
        }
        let stranger = SigningIdentity::generate().unwrap().signer().unwrap();
        let stranger = MessageVerifier::from_point(stranger.public_key().as_bytes()).unwrap();
        assert_eq!(whole.verify(&stranger, signature), Err(SignatureError::Wrong));
        assert!(whole.verify(&verifier, "00").is_err());
        assert!(whole.verify(&verifier, "not hexadecimal").is_err());
    }

    #[test]
    fn a_message_is_taken_once_while_fresh() {
        let now = time("2026-11-21T09:00:00Z");
        let window = ReplayWindow::open(time("2026-11-21T08:58:00Z"));
        let stamp = |at: &str, serial| Stamp { at: time(at), serial: Uuid::from_u128(serial) };
        assert_eq!(window.take(stamp("2026-11-21T09:00:00Z", 1), now), Ok(()));
        assert_eq!(window.take(stamp("2026-11-21T09:00:00Z", 1), now), Err(SignatureError::Replayed));
        assert_eq!(window.take(stamp("2026-11-21T08:54:59Z", 2), now), Err(SignatureError::Stale));
        assert_eq!(window.take(stamp("2026-11-21T09:05:01Z", 3), now), Err(SignatureError::Stale));
        let before_start = stamp("2026-11-21T08:57:58Z", 4);
        assert_eq!(
            window.take(before_start, now),
            Err(SignatureError::Stale),
            "signed before the receiver's start"
        );
    }

    #[test]
    fn a_forgotten_serial_is_stale_by_then() {
        let window = ReplayWindow::open(time("2026-11-21T08:00:00Z"));
        let stamp = Stamp { at: time("2026-11-21T09:00:00Z"), serial: Uuid::from_u128(1) };
        assert_eq!(window.take(stamp, time("2026-11-21T09:00:00Z")), Ok(()));
        let later = time("2026-11-21T09:05:01Z");
        let fresh = Stamp { at: later, serial: Uuid::from_u128(2) };
        assert_eq!(window.take(fresh, later), Ok(()));
        assert_eq!(window.taken.lock().unwrap().serials.len(), 1, "the old serial is forgotten");
        assert_eq!(window.take(stamp, later), Err(SignatureError::Stale));
    }

    #[test]
    fn an_assertion_ends_and_cannot_be_changed() {
        let signer = SigningIdentity::generate().unwrap().signer().unwrap();
        let verifier = MessageVerifier::from_point(signer.public_key().as_bytes()).unwrap();
        let assertion =
            Assertion { se_id: HexBytes(vec![1, 2]), msisdn: None, expires_at: time("2026-11-21T09:00:00Z") };
        let text = assertion.sign(&signer);
        assert_eq!(Assertion::verify(&text, &verifier, time("2026-11-21T08:59:59Z")), Ok(assertion));
        assert_eq!(
            Assertion::verify(&text, &verifier, time("2026-11-21T09:00:00Z")),
            Err(SignatureError::Stale)
        );
        let payload = hex::encode(br#"{"se_id":"0103","expires_at":"2027-01-01T00:00:00Z"}"#);
        let forged = format!("{payload}.{}", text.split_once('.').unwrap().1);
        assert_eq!(
            Assertion::verify(&forged, &verifier, time("2026-11-21T08:59:59Z")),
            Err(SignatureError::Wrong)
        );
        for text in ["", ".", "00", "zz.zz"] {
            assert!(Assertion::verify(text, &verifier, time("2026-11-21T08:59:59Z")).is_err());
        }
    }
}
