//! Fare tables on their way to terminals: an operator's people publish them at the centre, two of them for each
//! version, and the centre signs the *head* of each: operator, version, validity, digest of the text.
//!
//! A terminal learns the heads at its status call, fetches the tables that it does not hold, and needs nothing but
//! the centre's public key to know that nobody changed price or time on the way.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::fare::{FareBookError, FareHead, FareTable};
use utoipa::ToSchema;

use super::lists::Decision;
use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::signature::{MessageVerifier, SignatureError};

/// Proposes a version.
pub const PROPOSE: Endpoint<NewFares, FareRecord> = Endpoint::post(
    "/peer/v1/fares",
    Access::Peer,
    "The person who is logged in proposes a version of the institution's fare table. The same again changes nothing.",
);
/// Decides on a version.
pub const DECIDE: Endpoint<FareDecision, FareRecord> = Endpoint::post(
    "/peer/v1/fares/{version}/decision",
    Access::Peer,
    "Another person of the institution decides; an approved version is published in the same step.",
);
/// The versions.
pub const VERSIONS: Endpoint<Nothing, FareList> =
    Endpoint::get("/peer/v1/fares", Access::Peer, "The caller's versions, proposed, refused and published.");
/// What was proposed.
pub const PROPOSED: Endpoint<Nothing, ProposedFares> = Endpoint::get(
    "/peer/v1/fares/{version}/proposal",
    Access::Peer,
    "A version with its text, for whoever decides on it.",
);
/// A published version.
pub const PUBLISHED: Endpoint<Nothing, PublishedFares> = Endpoint::get(
    "/peer/v1/fares/{version}",
    Access::Peer,
    "A published version of the caller's fare table, signed, for its terminals.",
);

/// Every endpoint of fare tables.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        PROPOSE.describe(),
        DECIDE.describe(),
        VERSIONS.describe(),
        PROPOSED.describe(),
        PUBLISHED.describe(),
    ]
}

/// A version to publish.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewFares {
    /// From when on it is in force.
    #[schema(value_type = String, format = DateTime)]
    pub valid_from: Timestamp,
    /// Until when; absent until a later version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_until: Option<Timestamp>,
    /// The table as a JSON text. It names its version, which is higher than any published one.
    pub text: String,
}

/// A decision on a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FareDecision {
    /// The digest of the text that the person has read.
    pub digest: HexBytes,
    /// The decision.
    pub decision: Decision,
}

/// A version and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FareRecord {
    /// The version.
    pub version: u32,
    /// From when on it is in force.
    #[schema(value_type = String, format = DateTime)]
    pub valid_from: Timestamp,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_until: Option<Timestamp>,
    /// SHA-256 of the text.
    pub digest: HexBytes,
    /// Who proposed it.
    pub proposed_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub proposed_at: Timestamp,
    /// The decision, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

/// An institution's versions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FareList {
    /// In order of version.
    pub fares: Vec<FareRecord>,
}

/// A version with its text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProposedFares {
    /// The version.
    pub record: FareRecord,
    /// The table.
    pub text: String,
}

/// The centre's signed word about a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedFares {
    /// Whose fares they are.
    pub operator: String,
    /// The version.
    pub version: u32,
    /// From when on it is in force.
    #[schema(value_type = String, format = DateTime)]
    pub valid_from: Timestamp,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_until: Option<Timestamp>,
    /// SHA-256 of the text.
    pub digest: HexBytes,
    /// ECDSA on P-256 with SHA-256, r and s.
    pub signature: HexBytes,
}

/// A published version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PublishedFares {
    /// The signed head.
    pub head: SignedFares,
    /// The table.
    pub text: String,
}

/// Why a terminal does not take a version.
#[derive(Debug, thiserror::Error)]
pub enum FaresError {
    /// The head is not signed by the centre.
    #[error("the fare table is not signed by the centre")]
    Signature(#[from] SignatureError),
    /// A field cannot be read.
    #[error("the field {0} of the fare table cannot be read")]
    Field(&'static str),
    /// They are another operator's.
    #[error("the fare table is of {offered}, and the terminal is of {own}")]
    Operator {
        /// The terminal's operator.
        own: String,
        /// The head's.
        offered: String,
    },
    /// The text is not the one that was signed.
    #[error("the text of the fare table is not the one that the centre signed")]
    Digest,
    /// The text makes no table.
    #[error("the fare table makes no sense: {0}")]
    Text(#[from] serde_json::Error),
    /// It does not go with the versions that are known.
    #[error(transparent)]
    Book(#[from] FareBookError),
}

impl SignedFares {
    /// The bytes that the centre signs.
    pub fn signed_bytes(operator: &str, head: &FareHead) -> Vec<u8> {
        let until = head.valid_until.map_or_else(|| "-".to_owned(), |until| until.to_string());
        let FareHead { version, valid_from, digest, .. } = head;
        let digest = hex::encode(digest.0);
        format!("OPENTSM-FARES-1\n{operator}\n{version}\n{valid_from}\n{until}\n{digest}\n").into_bytes()
    }

    /// What the head says, if the centre signed it for this operator.
    pub fn verify(&self, operator: &str, centre: &MessageVerifier) -> Result<FareHead, FaresError> {
        let digest: [u8; 32] = self.digest.as_bytes().try_into().map_err(|_| FaresError::Field("digest"))?;
        let (version, valid_from, valid_until) = (self.version, self.valid_from, self.valid_until);
        let head = FareHead { version, valid_from, valid_until, digest: Sha256Digest(digest) };
        centre.verify(&Self::signed_bytes(&self.operator, &head), self.signature.as_bytes())?;
        if self.operator != operator {
            return Err(FaresError::Operator { own: operator.to_owned(), offered: self.operator.clone() });
        }
        Ok(head)
    }
}

impl PublishedFares {
    /// Head and table, if the centre signed them for this operator.
    pub fn verify(
        &self,
        operator: &str,
        centre: &MessageVerifier,
    ) -> Result<(FareHead, FareTable), FaresError> {
        let head = self.head.verify(operator, centre)?;
        if Sha256Digest::of(self.text.as_bytes()) != head.digest {
            return Err(FaresError::Digest);
        }
        Ok((head, serde_json::from_str(&self.text)?))
    }
}

#[cfg(test)]
mod tests {
    use tsm_domain::Fen;
    use tsm_domain::money::fare::FareRule;

    use super::*;
    use crate::pki::SigningIdentity;
    use crate::signature::{MessageSigner as _, SoftwareSigner};

    fn published(signer: &SoftwareSigner) -> PublishedFares {
        let table = FareTable::new(7, FareRule::Flat(Fen::new(200))).unwrap();
        let text = serde_json::to_string(&table).unwrap();
        let head = FareHead {
            version: 7,
            valid_from: "2026-11-21T16:00:00Z".parse().unwrap(),
            valid_until: None,
            digest: Sha256Digest::of(text.as_bytes()),
        };
        let head = SignedFares {
            operator: "METRO".into(),
            version: head.version,
            valid_from: head.valid_from,
            valid_until: head.valid_until,
            digest: HexBytes(head.digest.0.to_vec()),
            signature: HexBytes(signer.sign(&SignedFares::signed_bytes("METRO", &head)).to_vec()),
        };
        PublishedFares { head, text }
    }

    #[test]
    fn a_terminal_takes_what_the_centre_signed_and_nothing_else() {
        let signer = SigningIdentity::generate().unwrap().signer().unwrap();
        let centre = MessageVerifier::from_point(signer.public_key().as_bytes()).unwrap();
        let fares = published(&signer);
        let (head, table) = fares.verify("METRO", &centre).unwrap();
        assert_eq!((head.version, table.highest()), (7, Fen::new(200)));

        let refused = |fares: PublishedFares| fares.verify("METRO", &centre).unwrap_err().to_string();
        let cheaper = PublishedFares { text: fares.text.replace("200", "100"), ..fares.clone() };
        assert_eq!(refused(cheaper), FaresError::Digest.to_string());
        let not_signed = FaresError::Signature(SignatureError::Wrong).to_string();
        let change = |change: &dyn Fn(&mut SignedFares)| {
            let mut changed = fares.clone();
            change(&mut changed.head);
            refused(changed)
        };
        assert_eq!(change(&|head| head.version = 8), not_signed);
        assert_eq!(change(&|head| head.valid_from = Timestamp::UNIX_EPOCH), not_signed);
        assert_eq!(change(&|head| head.valid_until = Some(Timestamp::UNIX_EPOCH)), not_signed);
        assert_eq!(change(&|head| head.operator = "BUS".into()), not_signed);
        let own = fares.verify("BUS", &centre).unwrap_err();
        assert!(matches!(own, FaresError::Operator { .. }), "another operator's fares, signed as they are");
        let stranger = SigningIdentity::generate().unwrap().signer().unwrap();
        assert_eq!(refused(published(&stranger)), not_signed);
    }
}
