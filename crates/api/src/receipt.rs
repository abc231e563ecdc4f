//! A rider's receipt: what happened to the card's money, where the centre's journal says so, and the centre's
//! signature. It is checked without asking anybody.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::HexBytes;
use crate::ids::OrderId;
use crate::signature::{MessageVerifier, SignatureError};

/// The version of the form.
pub const VERSION: u16 = 1;

/// What a receipt is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    /// The card was opened.
    Opened,
    /// The card took money in.
    ToppedUp,
    /// The card paid.
    Spent,
    /// The card was returned; what it held is kept for the refund.
    Returned,
    /// The card left its phone; what it held is kept for another.
    MigratedOut,
    /// The card came to another phone with what it held.
    MigratedIn,
    /// A paid top-up was cancelled before the card took it in; the money is owed.
    TopUpCancelled,
    /// Money went back to the rider.
    Refunded,
}

/// A receipt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// The version of the form.
    pub v: u16,
    /// The card number, masked: phones keep receipts.
    pub card: String,
    /// What for.
    pub kind: ReceiptKind,
    /// How much moved.
    pub amount_fen: u64,
    /// What the card held after it, where the card said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_fen: Option<u64>,
    /// The order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// The card's counter after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<u16>,
    /// The terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The place of the entry in the card's journal at the centre.
    pub entry: u64,
    /// The hash of that entry, which covers all before it.
    pub hash: HexBytes,
}

/// A receipt with the centre's signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedReceipt {
    /// The receipt.
    pub receipt: Receipt,
    /// ECDSA on P-256 with SHA-256 over [`Receipt::signed_bytes`], r and s.
    pub signature: HexBytes,
}

/// What is wrong with a receipt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReceiptError {
    /// A form that this program does not know.
    #[error("the receipt has version {0}; this program knows version {VERSION}")]
    Version(u16),
    /// The signature does not fit.
    #[error("the receipt was not signed with this key, or it was changed")]
    Signature(#[source] SignatureError),
}

impl Receipt {
    /// What the centre signs: the receipt as compact JSON, its fields in the order of this type.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"OpenTSM receipt\n".to_vec();
        bytes.extend(serde_json::to_vec(self).expect("plain fields can always be written"));
        bytes
    }
}

impl SignedReceipt {
    /// Checks the signature.
    pub fn verify(&self, centre: &MessageVerifier) -> Result<&Receipt, ReceiptError> {
        if self.receipt.v != VERSION {
            return Err(ReceiptError::Version(self.receipt.v));
        }
        let signed = self.receipt.signed_bytes();
        centre.verify(&signed, self.signature.as_bytes()).map_err(ReceiptError::Signature)?;
        Ok(&self.receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::SigningIdentity;
    use crate::signature::MessageSigner as _;

    fn receipt() -> Receipt {
        Receipt {
            v: VERSION,
            card: "3104***********0001".into(),
            kind: ReceiptKind::ToppedUp,
            amount_fen: 5_000,
            balance_fen: Some(5_000),
            order: None,
            counter: Some(1),
            terminal: Some("000100000001".into()),
            at: Timestamp::UNIX_EPOCH,
            entry: 3,
            hash: HexBytes(vec![7; 32]),
        }
    }

    /// One changed field, another key or a cut signature is no receipt.
    #[test]
    fn only_what_was_signed_is_a_receipt() {
        let (centre, stranger) = (SigningIdentity::generate().unwrap(), SigningIdentity::generate().unwrap());
        let verifier = |key: &SigningIdentity| {
            MessageVerifier::from_point(key.signer().unwrap().public_key().as_bytes()).unwrap()
        };
        let signature = centre.signer().unwrap().sign(&receipt().signed_bytes());
        let signed = SignedReceipt { receipt: receipt(), signature: HexBytes(signature.to_vec()) };
        assert_eq!(signed.verify(&verifier(&centre)), Ok(&receipt()));
        assert!(matches!(signed.verify(&verifier(&stranger)), Err(ReceiptError::Signature(_))));
        let changes: [fn(&mut Receipt); 5] = [
            |receipt| receipt.amount_fen += 1,
            |receipt| receipt.balance_fen = None,
            |receipt| receipt.entry += 1,
            |receipt| receipt.kind = ReceiptKind::Refunded,
            |receipt| receipt.card.push('1'),
        ];
        for change in changes {
            let mut changed = signed.clone();
            change(&mut changed.receipt);
            assert!(matches!(changed.verify(&verifier(&centre)), Err(ReceiptError::Signature(_))));
        }
        let newer = SignedReceipt { receipt: Receipt { v: 2, ..receipt() }, ..signed };
        assert_eq!(newer.verify(&verifier(&centre)), Err(ReceiptError::Version(2)));
    }

    #[test]
    fn the_signed_form_does_not_change() {
        let signed = String::from_utf8(receipt().signed_bytes()).unwrap();
        let expected = concat!(
            "OpenTSM receipt\n",
            r#"{"v":1,"card":"3104***********0001","kind":"topped_up","amount_fen":5000,"balance_fen":5000,"#,
            r#""counter":1,"terminal":"000100000001","at":"1970-01-01T00:00:00Z","entry":3,"hash":"#,
        );
        assert!(signed.starts_with(expected), "{signed}");
    }
}
