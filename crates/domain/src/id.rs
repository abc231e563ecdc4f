//! Identities: who and what a record is about.
//!
//! Each is a type of its own, so that a card number can never stand where a phone number is meant.
//! Identities of people and cards print themselves masked; `as_str` gives the whole value to the code
//! that must put it on a card or on the wire. They read no clock and draw no randomness: the caller
//! brings both.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::environment::Entropy;

/// Why text or bytes are not the identity they were taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// An SE identity has 1 to 20 bytes.
    #[error("an SEID has 1 to 20 bytes, and this has {0}")]
    SeIdLength(usize),
    /// An SE identity is written in hexadecimal.
    #[error("an SEID is written in pairs of hexadecimal digits")]
    SeIdText,
    /// A phone number has 5 to 15 digits.
    #[error("a phone number has 5 to 15 digits and nothing else")]
    Msisdn,
    /// A card number has 19 digits.
    #[error("a card number has 19 digits and nothing else")]
    CardNumber,
    /// A provider number has 1 to 16 letters, digits or hyphens.
    #[error("a provider number has 1 to 16 capital letters, digits or hyphens")]
    ProviderId,
    /// A name of an operator, batch or account has 1 to 64 printable characters.
    #[error("a name has 1 to 64 letters, digits, dots, hyphens, slashes, colons or underscores")]
    Name,
    /// A terminal number has 12 digits.
    #[error("a terminal number has 12 decimal digits")]
    TerminalNumber,
    /// The attempts of a card are used up.
    #[error("the terminal numbers for this card's top-up attempts are used up")]
    AttemptsExhausted,
    /// Not a UUID.
    #[error("this is not a UUID")]
    Uuid,
}

macro_rules! text_serde {
    ($name:ident, $write:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let write: fn(&$name) -> Cow<'_, str> = $write;
                serializer.serialize_str(&write(self))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// The identity of a secure element: 1 to 20 bytes, read from the SE itself and never typed by a person.
///
/// SEIDs are ordered by length and then by bytes, which is the order of number segments.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeId {
    // `bytes` is zero past `length`, so that the derived equality is that of the value.
    bytes: [u8; 20],
    length: u8,
}

impl SeId {
    /// An SEID from its bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, IdError> {
        if bytes.is_empty() || bytes.len() > 20 {
            return Err(IdError::SeIdLength(bytes.len()));
        }
        let mut padded = [0; 20];
        padded[..bytes.len()].copy_from_slice(bytes);
        Ok(Self { bytes: padded, length: bytes.len() as u8 })
    }

    /// The SEID's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl PartialOrd for SeId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SeId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.length, self.bytes).cmp(&(other.length, other.bytes))
    }
}

impl fmt::Display for SeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for SeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeId({self})")
    }
}

impl FromStr for SeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(&hex::decode(text).map_err(|_| IdError::SeIdText)?)
    }
}

text_serde!(SeId, |id| id.to_string().into());

fn masked(text: &str, head: usize, tail: usize) -> String {
    let hidden = text.len().saturating_sub(head + tail);
    format!("{}{}{}", &text[..head], "*".repeat(hidden), &text[head + hidden..])
}

/// A mobile phone number: 5 to 15 digits (ITU-T E.164), without a plus sign. Prints itself masked.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Msisdn(String);

impl Msisdn {
    /// All digits. For the card, the wire and the store; never for a log.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Msisdn {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let fits = (5..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { Ok(Self(text.to_owned())) } else { Err(IdError::Msisdn) }
    }
}

impl fmt::Display for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if self.0.len() >= 11 { (3, 4) } else { (0, 2) };
        f.write_str(&masked(&self.0, shown.0, shown.1))
    }
}

impl fmt::Debug for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Msisdn({self})")
    }
}

text_serde!(Msisdn, |number| number.as_str().into());

/// A transport card's number: 19 digits (T-Union: issuer identification 6, extension 2, own part 11).
/// Prints itself masked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CardNumber([u8; 19]);

impl CardNumber {
    /// A number made of the issuer's eight leading digits and its own part.
    ///
    /// The own part has eleven digits; a larger one is refused.
    pub fn compose(issuer: &str, own: u64) -> Result<Self, IdError> {
        if issuer.len() != 8 || own > 99_999_999_999 {
            return Err(IdError::CardNumber);
        }
        format!("{issuer}{own:011}").parse()
    }

    /// A number from the application serial of EF15: a leading zero nibble and 19 BCD digits.
    pub fn from_application_serial(serial: &[u8; 10]) -> Result<Self, IdError> {
        let text = hex::encode(serial);
        text.strip_prefix('0').ok_or(IdError::CardNumber)?.parse()
    }

    /// The application serial of EF15: a leading zero nibble and the 19 digits in BCD.
    pub fn application_serial(&self) -> [u8; 10] {
        let mut serial = [0; 10];
        // The digits stand in the nibbles 1 to 19; nibble 0 stays zero.
        for (nibble, digit) in (1..).zip(self.0) {
            let digit = digit - b'0';
            serial[nibble / 2] |= if nibble % 2 == 0 { digit << 4 } else { digit };
        }
        serial
    }

    /// All digits. For the card, the wire and the store; never for a log.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a card number is made of ASCII digits")
    }
}

impl FromStr for CardNumber {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits: [u8; 19] = text.as_bytes().try_into().map_err(|_| IdError::CardNumber)?;
        let all = digits.iter().all(u8::is_ascii_digit);
        if all { Ok(Self(digits)) } else { Err(IdError::CardNumber) }
    }
}

impl fmt::Display for CardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(self.as_str(), 4, 4))
    }
}

impl fmt::Debug for CardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardNumber({self})")
    }
}

text_serde!(CardNumber, |number| number.as_str().to_owned().into());

macro_rules! short_text {
    ($(#[$doc:meta])* $name:ident, $error:ident, $most:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let allowed: fn(u8) -> bool = $allowed;
                let fits = (1..=$most).contains(&text.len()) && text.bytes().all(allowed);
                if fits { Ok(Self(text.to_owned())) } else { Err(IdError::$error) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        text_serde!($name, |name| name.as_str().into());
    };
}

fn in_provider_number(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-'
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-/:_".contains(&byte)
}

short_text! {
    /// A provider's number (SPID), which the platform assigns on approval (P-5.6.2.b).
    ProviderId, ProviderId, 16, in_provider_number
}
short_text! {
    /// The account name of a person or a system that acts: an administrator, a hall clerk, a peer TSM.
    OperatorId, Name, 64, in_name
}
short_text! {
    /// The name of an SE batch (P-5.8.1.a).
    BatchId, Name, 64, in_name
}
short_text! {
    /// The label by which the key service knows a key. Records hold keys by such references only.
    KeyReference, Name, 64, in_name
}
short_text! {
    /// The payment platform's own number for a payment, as its signed notification gives it.
    PaymentReference, Name, 64, in_name
}

/// What stands before the reference of money that was put into a terminal.
const CASH: &str = "cash:";

impl PaymentReference {
    /// Cash that `terminal` took for the top-up `operation`. The platform never hears of it.
    pub fn cash(terminal: TerminalNumber, operation: uuid::Uuid) -> Self {
        let terminal = hex::encode(terminal.to_bcd());
        Self(format!("{CASH}{terminal}:{operation}"))
    }

    /// The terminal that took cash and the number of the top-up; `None` for a payment of the platform.
    pub fn as_cash(&self) -> Option<(TerminalNumber, uuid::Uuid)> {
        let (terminal, operation) = self.0.strip_prefix(CASH)?.split_once(':')?;
        let terminal: [u8; 6] = hex::decode(terminal).ok()?.try_into().ok()?;
        Some((TerminalNumber::from_bcd(terminal).ok()?, operation.parse().ok()?))
    }

    /// Whether it is cash. Cash is given back where it was taken, never through the platform.
    pub fn is_cash(&self) -> bool {
        self.0.starts_with(CASH)
    }
}
short_text! {
    /// The number of an institution at the clearing centre: an issuer of cards, an operator of terminals.
    InstitutionId, Name, 64, in_name
}
short_text! {
    /// A payment account at the payment sandbox.
    PayerId, Name, 64, in_name
}

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(uuid::Uuid);

        impl $name {
            /// An identity with 122 bits of the caller's randomness: it cannot be guessed and no two nodes
            /// have to agree on a sequence.
            pub fn generate(entropy: &(impl Entropy + ?Sized)) -> Self {
                let mut bytes = [0; 16];
                entropy.fill(&mut bytes);
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }

            /// The identity with this value.
            pub const fn from_uuid(value: uuid::Uuid) -> Self {
                Self(value)
            }

            /// The value.
            pub const fn as_uuid(&self) -> uuid::Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self).map_err(|_| IdError::Uuid)
            }
        }
    )*};
}

uuid_id! {
    /// An order: to open a card, to top it up, to return it.
    OrderId;
    /// A conversation between one SE and a TSM.
    ConversationId;
    /// A task for one SE.
    TaskId;
    /// An operation that several organisations know by the same number.
    OperationId;
    /// A transfer in the ledger.
    TransferId;
    /// A signed-in session of a client or a portal user.
    SessionId;
    /// A subscription: the relation of user, SE application and provider.
    SubscriptionId;
    /// A ticket that allows one download or deletion (B-8.5.2.a).
    TicketId;
    /// An incident that someone has to look at.
    IncidentId;
    /// A difference that reconciliation found.
    DifferenceId;
    /// A reported transaction that was kept aside.
    AsideId;
    /// A proposed change of the black and grey list.
    ProposalId;
    /// A notification or report waiting to be delivered.
    DeliveryId;
}

/// The number of a terminal: six bytes, twelve decimal digits in BCD. MAC1 covers it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TerminalNumber([u8; 6]);

impl TerminalNumber {
    /// A terminal number from its six BCD bytes.
    pub fn from_bcd(bytes: [u8; 6]) -> Result<Self, IdError> {
        let decimal = bytes.iter().all(|byte| byte >> 4 <= 9 && byte & 0x0F <= 9);
        if decimal { Ok(Self(bytes)) } else { Err(IdError::TerminalNumber) }
    }

    /// The number of the online top-up terminal for one attempt on one card.
    ///
    /// Four digits name the SP-TSM (`station`), eight count the attempts on this card, so a number never
    /// returns on the same card and no counter is shared between cards.
    pub fn for_attempt(station: u16, attempt: u32) -> Result<Self, IdError> {
        if station > 9_999 || attempt > 99_999_999 {
            return Err(IdError::AttemptsExhausted);
        }
        format!("{station:04}{attempt:08}").parse()
    }

    /// The six BCD bytes, as they stand in the command and under MAC1.
    pub const fn to_bcd(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for TerminalNumber {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = hex::decode(text).map_err(|_| IdError::TerminalNumber)?;
        Self::from_bcd(bytes.try_into().map_err(|_| IdError::TerminalNumber)?)
    }
}

impl fmt::Display for TerminalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for TerminalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TerminalNumber({self})")
    }
}

text_serde!(TerminalNumber, |number| number.to_string().into());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cash_has_a_reference_of_its_own() {
        let terminal = TerminalNumber::from_bcd([0x09, 0x99, 0, 0, 0, 0x51]).unwrap();
        let operation = uuid::Uuid::from_u128(7);
        let cash = PaymentReference::cash(terminal, operation);
        assert!(cash.is_cash());
        assert_eq!(cash.as_cash(), Some((terminal, operation)));
        assert_eq!(cash.as_str().parse(), Ok(cash.clone()), "it is a reference like any");
        let paid: PaymentReference = operation.to_string().parse().unwrap();
        assert_eq!((paid.is_cash(), paid.as_cash()), (false, None));
    }

    #[test]
    fn an_seid_has_one_to_twenty_bytes() {
        for length in 0..=24 {
            assert_eq!(SeId::new(&vec![7; length]).is_ok(), (1..=20).contains(&length), "length {length}");
        }
        let id: SeId = "0a1b2c".parse().unwrap();
        assert_eq!(id.to_string(), "0A1B2C");
        assert_eq!(id.as_bytes(), [0x0A, 0x1B, 0x2C]);
        assert_eq!("0a1".parse::<SeId>(), Err(IdError::SeIdText));
        assert!(SeId::new(&[9]).unwrap() < SeId::new(&[1, 0]).unwrap(), "shorter comes first");
    }

    #[test]
    fn people_and_cards_print_masked_and_serialise_whole() {
        let number: Msisdn = "13800138000".parse().unwrap();
        assert_eq!(format!("{number} {number:?}"), "138****8000 Msisdn(138****8000)");
        assert_eq!(serde_json::to_string(&number).unwrap(), "\"13800138000\"");
        let card: CardNumber = "3104990000000000017".parse().unwrap();
        assert_eq!(format!("{card:?}"), "CardNumber(3104***********0017)");
        assert_eq!(serde_json::to_string(&card).unwrap(), "\"3104990000000000017\"");
        assert_eq!(serde_json::from_str::<CardNumber>("\"3104990000000000017\"").unwrap(), card);
        assert!(serde_json::from_str::<CardNumber>("\"31049900000000000\"").is_err());
    }

    #[test]
    fn the_card_number_and_the_application_serial() {
        let card = CardNumber::compose("31051700", 42).unwrap();
        assert_eq!(card.as_str(), "3105170000000000042");
        assert_eq!(hex::encode(card.application_serial()), "03105170000000000042");
        assert_eq!(CardNumber::from_application_serial(&card.application_serial()), Ok(card));
        assert!(CardNumber::compose("31051700", 100_000_000_000).is_err());
        assert!(CardNumber::from_application_serial(&[0x13; 10]).is_err(), "the first nibble is zero");
        assert!(CardNumber::from_application_serial(&[0x0A; 10]).is_err(), "digits are decimal");
    }

    #[test]
    fn terminal_numbers_of_attempts_differ() {
        let first = TerminalNumber::for_attempt(3001, 1).unwrap();
        assert_eq!(first.to_string(), "300100000001");
        assert_ne!(first, TerminalNumber::for_attempt(3001, 2).unwrap());
        assert_eq!(TerminalNumber::for_attempt(3001, 100_000_000), Err(IdError::AttemptsExhausted));
        assert_eq!(TerminalNumber::from_bcd([0x30, 0x0A, 0, 0, 0, 1]), Err(IdError::TerminalNumber));
    }

    #[test]
    fn generated_identities_are_version_four() {
        struct Fixed;
        impl Entropy for Fixed {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(0xFF);
            }
        }
        let id = OrderId::generate(&Fixed);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(id.to_string().parse::<OrderId>(), Ok(id));
    }
}
