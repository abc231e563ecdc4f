//! Signed messages between a merchant and a payment platform, as the large wallets' merchant APIs have them.
//!
//! A request or notification is signed over its method, path, time, nonce and body, a reply over its status,
//! the request's path, its time, the request's nonce and its body, each with an end of line:
//!
//! ```text
//! POST\n/merchant/v1/payments\n1790000000\n5F1E…\n{"order":…}\n
//! 200\n/merchant/v1/payments\n1790000000\n5F1E…\n{"payment":…}\n
//! ```
//!
//! So a reply answers one request and no other. Keys have serials that are made from the keys themselves;
//! a message names the serial of its key. The algorithm is the key's and is never chosen by a message:
//! RSA of 2048 bits with SHA-256, or SM2 with SM3 (GB/T 32918.2).

use std::sync::Arc;

use hyper::HeaderMap;
use jiff::Timestamp;
use tsm_api::HexBytes;
use tsm_api::payment::signing;
pub use tsm_api::payment::signing::{MERCHANT, NONCE, REPLY_SERIAL, SERIAL, SIGNATURE, TIMESTAMP};
use tsm_api::payment::{PaymentSignature, PlatformKey};
use tsm_api::signature::{SignatureError, Stamp};
use tsm_keys::{KeyAlgorithm, KeyError, KeyReference, KeyService, PublicKey, SignatureScheme};
use uuid::Uuid;

/// A private key for messages, inside the key service.
#[derive(Clone)]
pub struct MessageKey {
    keys: Arc<dyn KeyService>,
    reference: KeyReference,
    scheme: PaymentSignature,
    serial: String,
}

/// A public key that checks messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisteredKey {
    scheme: PaymentSignature,
    key: PublicKey,
    serial: String,
}

/// The key cannot be used for messages of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageKeyError {
    /// The key service refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is neither SM2 nor RSA of at least 2048 bits.
    #[error("payment messages are signed with SM2 or with RSA of at least 2048 bits")]
    Algorithm,
    /// What was sent as a public key is none.
    #[error("the public key cannot be read")]
    Unreadable,
    /// The platform could not answer a merchant.
    #[error(
        "merchant {merchant} signs with {theirs}, and the platform has no {theirs} key to answer with: draw one for \
         the platform, or register another key of the merchant"
    )]
    NoPlatformKey {
        /// The merchant.
        merchant: String,
        /// How it signs.
        theirs: &'static str,
    },
    /// A merchant is registered without a key.
    #[error("merchant {0} is registered without a key")]
    NoMerchantKey(String),
    /// A merchant's keys are of two kinds, so that it is open how it is answered.
    #[error("merchant {0} is registered with RSA and SM2 keys at once: all its keys must be of one kind")]
    MixedKeys(String),
}

/// The signed head of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// The merchant.
    pub merchant: String,
    /// When it was signed, and its nonce.
    pub stamp: Stamp,
    /// The key's serial.
    pub serial: String,
    signature: Vec<u8>,
}

/// What a request or notification signs.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// When, and the nonce.
    pub stamp: Stamp,
    /// The body.
    pub body: &'a [u8],
}

/// What a reply signs.
#[derive(Debug, Clone, Copy)]
pub struct ReplyParts<'a> {
    /// The status.
    pub status: u16,
    /// Path and query of the request.
    pub path: &'a str,
    /// When the reply was signed, and the request's nonce.
    pub stamp: Stamp,
    /// The body.
    pub body: &'a [u8],
}

impl MessageKey {
    /// A key by its name.
    pub fn open(keys: Arc<dyn KeyService>, reference: KeyReference) -> Result<Self, MessageKeyError> {
        let registered = RegisteredKey::new(keys.public_key(&reference)?)?;
        Ok(Self { keys, reference, scheme: registered.scheme, serial: registered.serial })
    }

    /// The public half.
    pub fn registered(&self) -> Result<RegisteredKey, MessageKeyError> {
        RegisteredKey::new(self.keys.public_key(&self.reference)?)
    }

    /// Its serial.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// How it signs.
    pub const fn scheme(&self) -> PaymentSignature {
        self.scheme
    }

    /// Signs bytes.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.keys.sign(&self.reference, scheme(self.scheme), bytes)
    }

    /// The headers of a request or notification.
    pub fn seal_request(
        &self,
        merchant: &str,
        parts: &RequestParts<'_>,
    ) -> Result<Vec<(&'static str, String)>, KeyError> {
        self.seal(merchant, parts.stamp, &parts.to_bytes())
    }

    /// The headers of a reply.
    pub fn seal_reply(
        &self,
        merchant: &str,
        parts: &ReplyParts<'_>,
    ) -> Result<Vec<(&'static str, String)>, KeyError> {
        self.seal(merchant, parts.stamp, &parts.to_bytes())
    }

    fn seal(
        &self,
        merchant: &str,
        stamp: Stamp,
        bytes: &[u8],
    ) -> Result<Vec<(&'static str, String)>, KeyError> {
        let signature = self.sign(bytes)?;
        Ok(vec![
            (MERCHANT, merchant.to_owned()),
            (TIMESTAMP, stamp.at.as_second().to_string()),
            (NONCE, stamp.serial.simple().to_string()),
            (SERIAL, self.serial.clone()),
            (SIGNATURE, hex::encode(signature)),
        ])
    }
}

impl RegisteredKey {
    /// A public key of one of the two algorithms.
    pub fn new(key: PublicKey) -> Result<Self, MessageKeyError> {
        let scheme = match &key {
            PublicKey::Sm2(_) => PaymentSignature::Sm2Sm3,
            PublicKey::Rsa { modulus, .. } if modulus.len() >= 256 => PaymentSignature::RsaSha256,
            PublicKey::Rsa { .. } | PublicKey::EcdsaP256(_) => return Err(MessageKeyError::Algorithm),
        };
        let serial = hex::encode_upper(&key.fingerprint()[..10]);
        Ok(Self { scheme, key, serial })
    }

    /// Its serial.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// How it signs.
    pub const fn scheme(&self) -> PaymentSignature {
        self.scheme
    }

    /// Checks the signature of a request or notification.
    pub fn verify_request(&self, head: &SignedHead, parts: &RequestParts<'_>) -> Result<(), SignatureError> {
        self.verify(&parts.to_bytes(), &head.signature)
    }

    /// Checks the signature of a reply.
    pub fn verify_reply(&self, head: &SignedHead, parts: &ReplyParts<'_>) -> Result<(), SignatureError> {
        self.verify(&parts.to_bytes(), &head.signature)
    }

    /// Checks a signature over bytes.
    pub fn verify(&self, bytes: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.key.verify(scheme(self.scheme), bytes, signature).map_err(|_| SignatureError::Wrong)
    }

    /// As the platform gives it out.
    pub fn to_wire(&self) -> PlatformKey {
        let (key, exponent) = match &self.key {
            PublicKey::EcdsaP256(point) | PublicKey::Sm2(point) => (point.to_vec(), Vec::new()),
            PublicKey::Rsa { modulus, exponent } => (modulus.clone(), exponent.clone()),
        };
        PlatformKey {
            serial: self.serial.clone(),
            scheme: self.scheme,
            key: HexBytes(key),
            exponent: HexBytes(exponent),
        }
    }

    /// As it was given out; the serial must be the key's.
    pub fn from_wire(wire: &PlatformKey) -> Result<Self, MessageKeyError> {
        let key = match wire.scheme {
            PaymentSignature::RsaSha256 => {
                PublicKey::Rsa { modulus: wire.key.0.clone(), exponent: wire.exponent.0.clone() }
            }
            PaymentSignature::Sm2Sm3 => {
                let point = wire.key.0.as_slice().try_into().map_err(|_| MessageKeyError::Unreadable)?;
                PublicKey::Sm2(Box::new(point))
            }
        };
        let key = Self::new(key)?;
        if key.serial == wire.serial { Ok(key) } else { Err(MessageKeyError::Unreadable) }
    }
}

impl SignedHead {
    /// Reads the headers that `header` gives by name.
    pub fn read<'a>(header: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, SignatureError> {
        let field = |name| header(name).ok_or(SignatureError::Header(name));
        let seconds = field(TIMESTAMP)?.parse().ok();
        let at = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let nonce = field(NONCE)?;
        let serial = Uuid::try_parse(nonce).ok().filter(|_| nonce.len() == 32);
        Ok(Self {
            merchant: field(MERCHANT)?.to_owned(),
            stamp: Stamp {
                at: at.ok_or(SignatureError::Header(TIMESTAMP))?,
                serial: serial.ok_or(SignatureError::Header(NONCE))?,
            },
            serial: field(SERIAL)?.to_owned(),
            signature: hex::decode(field(SIGNATURE)?).map_err(|_| SignatureError::Header(SIGNATURE))?,
        })
    }

    /// Reads the headers of a request.
    pub fn of_headers(headers: &HeaderMap) -> Result<Self, SignatureError> {
        Self::read(|name| headers.get(name)?.to_str().ok())
    }
}

impl RequestParts<'_> {
    fn to_bytes(self) -> Vec<u8> {
        let Self { method, path, stamp, body } = self;
        signing::request_bytes(method, path, stamp, body)
    }
}

impl ReplyParts<'_> {
    fn to_bytes(self) -> Vec<u8> {
        let Self { status, path, stamp, body } = self;
        signing::reply_bytes(status, path, stamp, body)
    }
}

const fn scheme(signature: PaymentSignature) -> SignatureScheme {
    match signature {
        PaymentSignature::RsaSha256 => SignatureScheme::RsaSha256,
        PaymentSignature::Sm2Sm3 => SignatureScheme::Sm2Sm3,
    }
}

/// The kind of key in words.
pub const fn in_words(signature: PaymentSignature) -> &'static str {
    match signature {
        PaymentSignature::RsaSha256 => "RSA",
        PaymentSignature::Sm2Sm3 => "SM2",
    }
}

/// The algorithm of a key that signs so.
pub const fn algorithm(signature: PaymentSignature) -> KeyAlgorithm {
    match signature {
        PaymentSignature::RsaSha256 => KeyAlgorithm::Rsa,
        PaymentSignature::Sm2Sm3 => KeyAlgorithm::Sm2,
    }
}

/// Draws a new key for messages, and gives its public half to be registered with the other side.
pub fn draw_key(
    keys: &dyn KeyService,
    reference: &KeyReference,
    scheme: PaymentSignature,
) -> Result<RegisteredKey, MessageKeyError> {
    keys.generate(reference, algorithm(scheme))?;
    RegisteredKey::new(keys.public_key(reference)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp { at: Timestamp::from_second(1_790_000_000).unwrap(), serial: Uuid::from_u128(0xABC) }
    }

    #[test]
    fn what_is_signed_is_a_line_for_each_part() {
        let parts = RequestParts { method: "POST", path: "/a?b=1", stamp: stamp(), body: b"{}" };
        let expected = "POST\n/a?b=1\n1790000000\n00000000000000000000000000000abc\n{}\n";
        assert_eq!(parts.to_bytes(), expected.as_bytes());
        let parts = ReplyParts { status: 409, path: "/a", stamp: stamp(), body: b"" };
        let expected = "409\n/a\n1790000000\n00000000000000000000000000000abc\n\n";
        assert_eq!(parts.to_bytes(), expected.as_bytes());
    }

    #[test]
    fn a_head_with_a_bad_field_is_refused_by_its_name() {
        let good = [
            (MERCHANT, "CITY"),
            (TIMESTAMP, "1790000000"),
            (NONCE, "00000000000000000000000000000abc"),
            (SERIAL, "AA"),
            (SIGNATURE, "00ff"),
        ];
        let read = |changed: &str, value: Option<&'static str>| {
            SignedHead::read(|name| {
                if name == changed {
                    value
                } else {
                    good.iter().find(|(known, _)| *known == name).map(|(_, v)| *v)
                }
            })
        };
        assert_eq!(read("", None).unwrap().stamp, stamp());
        for (name, value) in [
            (MERCHANT, None),
            (TIMESTAMP, Some("yesterday")),
            (TIMESTAMP, Some("99999999999999")),
            (NONCE, Some("abc")),
            (NONCE, Some("00000000-0000-0000-0000-000000000abc")),
            (SERIAL, None),
            (SIGNATURE, Some("signed")),
        ] {
            assert_eq!(read(name, value), Err(SignatureError::Header(name)), "{name} {value:?}");
        }
    }

    #[test]
    fn fuzz_heads() {
        bolero::check!().with_type::<(String, String, String)>().for_each(|(time, nonce, signature)| {
            let head = SignedHead::read(|name| match name {
                TIMESTAMP => Some(time.as_str()),
                NONCE => Some(nonce.as_str()),
                SIGNATURE => Some(signature.as_str()),
                _ => Some("x"),
            });
            assert!(head.is_err() || nonce.len() == 32);
        });
    }

    /// One of the worked examples of `docs/payment-platform.md`.
    #[derive(serde::Deserialize)]
    #[serde(tag = "what", rename_all = "snake_case")]
    enum Example {
        Request {
            method: String,
            path: String,
            #[serde(flatten)]
            message: Message,
        },
        Reply {
            status: u16,
            path: String,
            #[serde(flatten)]
            message: Message,
        },
        Statement {
            serial: String,
            merchant: String,
            day: jiff::civil::Date,
            text: String,
            sha256: HexBytes,
            signed: String,
            signature: HexBytes,
        },
    }

    #[derive(serde::Deserialize)]
    struct Message {
        serial: String,
        timestamp: String,
        nonce: String,
        body: String,
        signed: String,
        signature: String,
    }

    impl Message {
        fn head(&self) -> SignedHead {
            let head = SignedHead::read(|name| {
                Some(match name {
                    MERCHANT => "lantern-shop",
                    TIMESTAMP => self.timestamp.as_str(),
                    NONCE => self.nonce.as_str(),
                    SERIAL => self.serial.as_str(),
                    SIGNATURE => self.signature.as_str(),
                    _ => return None,
                })
            });
            head.unwrap()
        }
    }

    /// The worked examples, which another implementation made, hold: texts, serials, signatures.
    #[test]
    fn the_worked_examples_of_the_documentation_hold() {
        use tsm_api::payment::statement;

        let page = include_str!("../../../../docs/payment-platform.md");
        let mut blocks = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let keys: Vec<PlatformKey> = serde_json::from_str(blocks.next().unwrap()).unwrap();
        // Reading a key recomputes its serial.
        let keys: Vec<_> = keys.iter().map(|key| RegisteredKey::from_wire(key).unwrap()).collect();
        let key_of = |serial: &str| keys.iter().find(|key| key.serial() == serial).unwrap();
        let mut kinds = std::collections::BTreeSet::new();
        for block in blocks {
            let (key, signed, made) = match serde_json::from_str(block).unwrap() {
                Example::Request { method, path, message } => {
                    let (head, key) = (message.head(), key_of(&message.serial));
                    let parts = RequestParts {
                        method: &method,
                        path: &path,
                        stamp: head.stamp,
                        body: message.body.as_bytes(),
                    };
                    assert_eq!(key.verify_request(&head, &parts), Ok(()), "{path}");
                    assert!(!path.ends_with("notifications") || kinds.insert(("notification", "any")));
                    (("request", key.scheme()), message.signed, parts.to_bytes())
                }
                Example::Reply { status, path, message } => {
                    let (head, key) = (message.head(), key_of(&message.serial));
                    let body = message.body.as_bytes();
                    let parts = ReplyParts { status, path: &path, stamp: head.stamp, body };
                    assert_eq!(key.verify_reply(&head, &parts), Ok(()), "{path}");
                    (("reply", key.scheme()), message.signed, parts.to_bytes())
                }
                Example::Statement { serial, merchant, day, text, sha256, signed, signature } => {
                    let (digest, key) = (statement::digest(&text), key_of(&serial));
                    assert_eq!(sha256.0, digest);
                    assert!(statement::read(&merchant, day, &text).is_ok());
                    let bytes = statement::signed_bytes(&merchant, day, &digest);
                    assert_eq!(key.verify(&bytes, &signature.0), Ok(()));
                    (("statement", key.scheme()), signed, bytes)
                }
            };
            assert_eq!(signed.as_bytes(), made);
            kinds.insert((key.0, in_words(key.1)));
        }
        let expected = [
            ("notification", "any"),
            ("reply", "RSA"),
            ("reply", "SM2"),
            ("request", "RSA"),
            ("request", "SM2"),
            ("statement", "RSA"),
            ("statement", "SM2"),
        ];
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
    }
}
