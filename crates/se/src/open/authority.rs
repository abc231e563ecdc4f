//! Who may manage which content (GPC 2.3.1, 9.1.3 and 6.6).
//!
//! A domain with authorized management manages what is within its own hierarchy by itself; one
//! with delegated management needs a token of the issuer for each step, and each step answers a
//! receipt. Other domains manage no content.

use tsm_globalplatform::privileges::Privileges;
use tsm_globalplatform::receipt::{ConfirmationData, Confirmed, Receipt};
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};

use super::Open;
use super::channels::Place;
use super::registry::EntryId;
use crate::applet::Answer;
use crate::domain::signatures;

/// By what right a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Authority {
    /// The domain's own.
    Authorized,
    /// A token's, which was verified.
    Delegated,
}

/// What a token signs: the command without the token.
pub(super) struct Signed<'a> {
    pub(super) command: &'a CommandApdu,
    /// The data field before the field that holds the token.
    pub(super) data: &'a [u8],
    pub(super) token: &'a [u8],
}

impl<'a> Signed<'a> {
    /// For a command whose last length-value field is the token, as all forms of INSTALL are.
    pub(super) fn last_field(command: &'a CommandApdu, token: &'a [u8]) -> Self {
        let data = &command.data[..];
        let length_bytes = match token.len() {
            0..=0x7F => 1,
            // A lone 80 is how hosts that know only 1024-bit signatures write 128.
            0x80 if data.len() > 0x80 && data[data.len() - 0x81] == 0x80 => {
                if data.len() > 0x81 && data[data.len() - 0x82] == 0x81 { 2 } else { 1 }
            }
            0x80..=0xFF => 2,
            _ => 3,
        };
        let end = data.len().saturating_sub(token.len() + length_bytes);
        Self { command, data: &data[..end], token }
    }
}

impl Open {
    /// Whether `domain` may take a step of content management now.
    pub(super) fn authorize(
        &mut self,
        domain: EntryId,
        place: Place,
        signed: &Signed<'_>,
    ) -> Result<Authority, StatusWord> {
        self.require_management(domain, place)?;
        self.require_personalized(domain)?;
        let privileges = self.registry.entry(domain).privileges();
        if privileges.contains(Privileges::AUTHORIZED_MANAGEMENT) {
            return Ok(Authority::Authorized);
        }
        if !privileges.contains(Privileges::DELEGATED_MANAGEMENT) || signed.token.is_empty() {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        let verifier = self.registry.holder_of(Privileges::TOKEN_VERIFICATION);
        let verifier = verifier.ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?;
        let right = signatures::verify_token(
            &self.domain_data(verifier).keys,
            signed.command.p1,
            signed.command.p2,
            signed.data,
            signed.token,
        );
        if right { Ok(Authority::Delegated) } else { Err(StatusWord::CONDITIONS_NOT_SATISFIED) }
    }

    /// Requires that an entry is within the hierarchy of a domain.
    pub(super) fn require_within(&self, id: EntryId, domain: EntryId) -> Result<(), StatusWord> {
        if self.registry.is_within(id, domain) { Ok(()) } else { Err(StatusWord::CONDITIONS_NOT_SATISFIED) }
    }

    /// The answer of a step of content management: the receipt of a delegated one, else 00.
    pub(super) fn confirm(&mut self, authority: Authority, confirmed: Confirmed) -> Answer {
        let receipt = match authority {
            Authority::Authorized => None,
            Authority::Delegated => self.receipt(confirmed),
        };
        Ok(ResponseApdu::success(receipt.map_or_else(|| vec![0x00], |receipt| receipt.to_response_data())))
    }

    /// The receipt of the domain that generates receipts; none where none does.
    // GPC 2.3.1 C.5.
    fn receipt(&mut self, confirmed: Confirmed) -> Option<Receipt> {
        let generator = self.registry.holder_of(Privileges::RECEIPT_GENERATION)?;
        let data = self.domain_data(generator);
        let counter = data.confirmation_counter.checked_add(1)?;
        let object = |tag| data.objects.get(&tag).map_or(&[][..], Vec::as_slice);
        let confirmation = ConfirmationData {
            counter: u16::try_from(counter).ok()?,
            security_domain_unique_data: [object(0x0042), object(0x0045)].concat(),
            token_identifier: None,
        };
        let receipt = signatures::sign_receipt(&data.keys, confirmed, confirmation)?;
        self.registry_mut().domain_mut(generator).confirmation_counter = counter;
        Some(receipt)
    }
}
