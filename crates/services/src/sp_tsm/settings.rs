//! What a card issuer sets: its products, its domain, its keys' names, its limits.

use std::sync::Arc;

use tsm_api::sp_tsm::peer::HandoverWay;
use tsm_domain::se_application::UnlockPolicy;
use tsm_domain::{CardNumber, Fen, Msisdn, SeId};
use tsm_epurse::file::{ApplicationSerial, Holder, Management, PublicInformation};
use tsm_epurse::values::NotACalendarTime;
use tsm_epurse::{Algorithm, Date};
use tsm_globalplatform::privileges::Privileges;
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::{Aid, CommandApdu};
use tsm_keys::reference::ReferenceError;
use tsm_keys::{DomainKeySource, DomainPath, KeyReference, Protocol, SessionRequest};

use crate::purse::{PurseKeys, card_time};

/// What an issuer sets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What it offers.
    pub products: Vec<Product>,
    /// What can be topped up.
    pub top_up: TopUpLimits,
    /// The first four digits of the terminal numbers of its top-ups.
    pub station: u16,
}

/// An application that the issuer offers.
#[derive(Debug, Clone)]
pub struct Product {
    /// The instance on the SE.
    pub application: Aid,
    /// The domain that it belongs to.
    pub domain: Aid,
    /// How the SP-TSM gets into the domain; none when the domain is not the issuer's.
    pub access: Option<DomainAccess>,
    /// What the SP-TSM does after the hand-over.
    pub way: HandoverWay,
    /// What it loads and installs, where it does that itself.
    pub package: Option<Package>,
    /// What the application is.
    pub kind: ProductKind,
}

/// What an application is.
#[derive(Debug, Clone)]
pub enum ProductKind {
    /// A transit purse.
    Purse(PurseProduct),
    /// An application without value.
    Plain(PlainApplication),
}

/// An application without value.
#[derive(Debug, Clone, Default)]
pub struct PlainApplication {
    /// The data groups that personalise it; none when it needs nothing.
    pub data_groups: Vec<(u16, Vec<u8>)>,
    /// The provider's own commands for the application, which pass through unchanged (P-5.8.4.6.1.a); none
    /// when it is not personalised that way.
    pub commands: Vec<Vec<u8>>,
}

/// A transit purse.
#[derive(Debug, Clone)]
pub struct PurseProduct {
    /// Its keys.
    pub keys: PurseKeys,
    /// The eight digits that its card numbers begin with.
    pub number_prefix: String,
    /// The cipher.
    pub algorithm: Algorithm,
    /// EF17.
    pub management: Management,
    /// How many years a card is valid.
    pub validity_years: u16,
    /// Where a lock of the holder's is lifted (D-5).
    pub unlock: UnlockPolicy,
    /// What its cards hold about their holder.
    pub holder: HolderFile,
}

/// What EF16 of an issuer's cards holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HolderFile {
    /// Nothing: the cards are anonymous, and a change of number leaves them alone.
    #[default]
    Anonymous,
    /// The holder's number, in place of an identity document's. After a change of number such a card is
    /// personalised again (P-5.5.5.b).
    Number {
        /// The kind of document that stands for a number.
        document_type: u8,
    },
}

/// How the SP-TSM opens a secure channel with its own domain.
#[derive(Debug, Clone)]
pub struct DomainAccess {
    /// The root of the domain's keys (B-8.4.1.b, D-40).
    pub root: KeyReference,
    /// The version that the keys have on the card.
    pub key_version: u8,
    /// The protocol.
    pub protocol: Protocol,
    /// The security level. What is recorded of a card rests on R-MAC; a purse without it proves itself by its own
    /// MACs, is returned by an online debit, and migrates at a hall only.
    pub level: SecurityLevel,
    /// The KEK shared with the SE-TSM.
    pub kek: KeyReference,
}

/// What is loaded and installed through the issuer's own domain.
#[derive(Debug, Clone)]
pub struct Package {
    /// The load file's AID.
    pub load_file: Aid,
    /// The module.
    pub module: Aid,
    /// The load file data block, shared by all downloads.
    pub data_block: Arc<[u8]>,
    /// Privileges of the instance.
    pub privileges: Privileges,
    /// Memory of the instance: volatile and non-volatile bytes.
    pub memory: Option<(u32, u32)>,
}

/// What can be topped up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopUpLimits {
    /// At least.
    pub minimum: Fen,
    /// At most, in one order.
    pub maximum: Fen,
    /// What a purse may hold.
    pub purse_maximum: Fen,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A key's name is not one.
    #[error("the name of a purse's keys cannot be used")]
    KeyName(#[from] ReferenceError),
    /// The card numbers cannot be composed.
    #[error("card numbers cannot begin with {0:?}")]
    NumberPrefix(String),
    /// A hand-over without a way into the domain.
    #[error("{0} is to be handed over, and there is no access to its domain or nothing to load")]
    Handover(Aid),
    /// A session whose answers prove nothing.
    #[error("the sessions for {0}, which is no purse, have no R-MAC, so nothing would prove its answers")]
    NoResponseMac(Aid),
    /// A command to be passed through is none.
    #[error("a command for {0} cannot be read")]
    Command(Aid),
    /// More than four digits.
    #[error("a station has four digits, and {0} has more")]
    Station(u16),
}

impl Settings {
    /// Whether they can be used.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.station > 9_999 {
            return Err(SettingsError::Station(self.station));
        }
        self.products.iter().try_for_each(Product::check)
    }

    /// The product whose instance has this AID.
    pub(super) fn product(&self, application: &Aid) -> Option<&Product> {
        self.products.iter().find(|product| product.application == *application)
    }
}

impl Product {
    fn check(&self) -> Result<(), SettingsError> {
        let complete = match self.way {
            HandoverWay::Nothing => true,
            HandoverWay::Personalise => self.access.is_some(),
            HandoverWay::LoadAndPersonalise => self.access.is_some() && self.package.is_some(),
        };
        if !complete {
            return Err(SettingsError::Handover(self.application));
        }
        if self.purse().is_none() && self.access.as_ref().is_some_and(|access| !access.level.has_r_mac()) {
            return Err(SettingsError::NoResponseMac(self.application));
        }
        match &self.kind {
            ProductKind::Purse(purse) => {
                purse.keys.check()?;
                purse.number(0).map(drop)
            }
            ProductKind::Plain(plain) => {
                plain.commands().map(drop).ok_or(SettingsError::Command(self.application))
            }
        }
    }

    /// The purse, when it is one.
    pub(super) const fn purse(&self) -> Option<&PurseProduct> {
        match &self.kind {
            ProductKind::Purse(purse) => Some(purse),
            ProductKind::Plain(_) => None,
        }
    }
}

impl PlainApplication {
    /// The commands that pass through; none when one of them cannot be read.
    pub(super) fn commands(&self) -> Option<Vec<CommandApdu>> {
        self.commands.iter().map(|bytes| CommandApdu::parse(bytes).ok()).collect()
    }
}

impl PurseProduct {
    /// The card number with this own part.
    pub(super) fn number(&self, own: u64) -> Result<CardNumber, SettingsError> {
        CardNumber::compose(&self.number_prefix, own)
            .map_err(|_| SettingsError::NumberPrefix(self.number_prefix.clone()))
    }

    /// EF15 of a card that is issued at `at`.
    pub(super) fn public_information(
        &self,
        card: CardNumber,
        at: jiff::Timestamp,
    ) -> Result<PublicInformation, NotACalendarTime> {
        let enabled_on = card_time(at).date;
        let (year, month, day) = enabled_on.calendar().ok_or(NotACalendarTime)?;
        // The 29th of February has no like in most years.
        let day = if (month, day) == (2, 29) { 28 } else { day };
        Ok(PublicInformation {
            issuer: self.keys.issuer,
            application_type: PublicInformation::PURSE,
            application_version: PublicInformation::ENABLED,
            serial: ApplicationSerial(card.application_serial()),
            enabled_on,
            expires_on: Date::from_calendar(year.saturating_add(self.validity_years), month, day)?,
            issuer_data: [0; 2],
        })
    }
}

impl HolderFile {
    /// EF16 of a card whose holder has this number; what else the file says stays.
    pub(super) fn of(self, file: Holder, number: Option<&Msisdn>) -> Holder {
        let (Self::Number { document_type }, Some(number)) = (self, number) else { return file };
        let mut document_number = [0; 32];
        for (byte, digit) in document_number.iter_mut().zip(number.as_str().bytes()) {
            *byte = digit;
        }
        Holder { document_number, document_type, ..file }
    }
}

impl DomainAccess {
    /// Where the keys of the domain on one SE come from.
    pub(super) fn keys(&self, domain: Aid, se: SeId) -> DomainKeySource {
        DomainKeySource::TwoLevel { root: self.root.clone(), path: DomainPath { domain, se_id: se } }
    }

    /// The session that the SP-TSM opens with the domain on one SE.
    pub(super) fn session(&self, domain: Aid, se: SeId) -> SessionRequest {
        SessionRequest {
            application: domain,
            keys: self.keys(domain, se),
            protocol: self.protocol,
            key_version: self.key_version,
            level: self.level,
        }
    }
}
