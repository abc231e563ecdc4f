//! Delegated-management receipts: the card's proof that it did what it was asked
//! (GPC 2.3.1, 9.1.3.2, 11.1.6 and C.5).

use tsm_iso7816::Aid;

use crate::{
    commands::{CommandError, fields::Fields, fields::write_aid, fields::write_value},
    signature::{SignatureKeyError, SigningKey, VerifyingKey, WrongSignature},
};

/// What a card confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Confirmed {
    /// A load file was loaded for a security domain.
    Load {
        /// The load file.
        load_file: Aid,
        /// The security domain it belongs to.
        security_domain: Aid,
    },
    /// An application was installed (or made selectable) from a load file.
    Install {
        /// The load file.
        load_file: Aid,
        /// The application.
        application: Aid,
    },
    /// An application or load file was deleted.
    Delete {
        /// The application or load file.
        object: Aid,
    },
    /// An application or load file was given to another security domain.
    Extradition {
        /// The domain it belonged to.
        from: Aid,
        /// The application or load file.
        object: Aid,
        /// The domain it belongs to now.
        to: Aid,
    },
}

/// What makes a receipt unique: the card, and how many receipts it gave before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmationData {
    /// The confirmation counter, incremented with each receipt.
    pub counter: u16,
    /// Issuer identification number and card image number, one after the other.
    pub security_domain_unique_data: Vec<u8>,
    /// The identifier of the token that is answered, where it had one.
    pub token_identifier: Option<Vec<u8>>,
}

/// A receipt as the card answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The signature or MAC.
    pub signature: Vec<u8>,
    /// The confirmation data; some cards leave it out, and the host must know it then.
    pub confirmation: Option<ConfirmationData>,
}

impl Confirmed {
    // GPC 2.3.1 tables C-9 to C-12.
    /// The bytes that a receipt signs.
    pub fn signed_data(&self, confirmation: &ConfirmationData) -> Vec<u8> {
        let mut out = confirmation.to_bytes();
        let aids: &[&Aid] = match self {
            Self::Load { load_file, security_domain } => &[load_file, security_domain],
            Self::Install { load_file, application } => &[load_file, application],
            Self::Delete { object } => &[object],
            Self::Extradition { from, object, to } => &[from, object, to],
        };
        aids.iter().for_each(|aid| write_aid(&mut out, Some(aid)));
        out
    }

    /// Signs the receipt.
    pub fn sign(
        &self,
        confirmation: ConfirmationData,
        key: &SigningKey,
    ) -> Result<Receipt, SignatureKeyError> {
        let signature = key.sign(&self.signed_data(&confirmation))?;
        Ok(Receipt { signature, confirmation: Some(confirmation) })
    }

    /// Whether `signature` confirms this.
    pub fn verify(
        &self,
        confirmation: &ConfirmationData,
        key: &VerifyingKey,
        signature: &[u8],
    ) -> Result<(), WrongSignature> {
        key.verify(&self.signed_data(confirmation), signature)
    }
}

impl ConfirmationData {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_value(&mut out, &self.counter.to_be_bytes());
        write_value(&mut out, &self.security_domain_unique_data);
        if let Some(identifier) = &self.token_identifier {
            write_value(&mut out, identifier);
        }
        out
    }
}

impl Receipt {
    // GPC 2.3.1 11.1.6: confirmation structure.
    /// The response data: the receipt, then the confirmation data.
    pub fn to_response_data(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_value(&mut out, &self.signature);
        if let Some(confirmation) = &self.confirmation {
            out.extend(confirmation.to_bytes());
        }
        out
    }

    /// Reads the response data; `None` when it has no receipt (no bytes, or a single 00).
    pub fn parse(data: &[u8]) -> Result<Option<Self>, CommandError> {
        let mut fields = Fields::new(data);
        let signature = fields.value_or_empty("receipt")?.to_vec();
        if signature.is_empty() {
            return fields.end().map(|()| None);
        }
        if fields.is_empty() {
            return Ok(Some(Self { signature, confirmation: None }));
        }
        let counter = fields.value("confirmation counter")?;
        let &[high, low] = counter else {
            return Err(CommandError::Value { field: "confirmation counter" });
        };
        let security_domain_unique_data = fields.value("security domain unique data")?.to_vec();
        let token_identifier =
            if fields.is_empty() { None } else { Some(fields.value("token identifier")?.to_vec()) };
        fields.end()?;
        let counter = u16::from_be_bytes([high, low]);
        let confirmation = ConfirmationData { counter, security_domain_unique_data, token_identifier };
        Ok(Some(Self { signature, confirmation: Some(confirmation) }))
    }
}
