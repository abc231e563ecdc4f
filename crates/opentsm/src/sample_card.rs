//! A transit card with an invented number and some history, issued onto a development card by the
//! procedures that the TSMs use, for `opentsm se --transit-card`.

use std::sync::Arc;

use tsm_capfile::{CapFile, Descriptor};
use tsm_card::download::{Download, Downloading};
use tsm_card::install::{Installing, NewInstance};
use tsm_card::personalise::{Personalising, StoreDataForm};
use tsm_card::purse::{PurseIssue, purse_keys};
use tsm_card::{CardGone, DirectChannel, ProcedureError, Script, open_channel};
use tsm_domain::environment::Entropy;
use tsm_epurse::card::PurseState;
use tsm_epurse::file::{
    ApplicationSerial, CardKind, HistoryRecord, HistoryType, Industry, LogRecord, Management,
    PublicInformation,
};
use tsm_epurse::personalization::PurseStart;
use tsm_epurse::select::PURSE_AID;
use tsm_epurse::{
    Algorithm, Amount, Date, DateTime, IssuerFactor, KeyRole, OfflineCounter, OnlineCounter, OverdraftLimit,
    TerminalNumber, TransactionSequence, TransactionType,
};
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_keys::session::{Protocol, SessionRequest};
use tsm_keys::{
    DomainKeySource, KeyAlgorithm, KeyPurpose, KeyReference, KeyService, KeySetReference, SoftwareKeyService,
};
use tsm_se::profile::{DEVELOPMENT_SCP03_VERSION, ISSUER_DOMAIN};
use tsm_se::{Interface, SecureElement};

use crate::environment::SystemEntropy;
use crate::packages;

/// Invented: no issuer has these digits.
const ISSUER: [u8; 8] = [0x09, 0x99, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF];
const CARD_DIGITS: &str = "3104999000000012345";
const TERMINAL: [u8; 6] = [0x09, 0x99, 0x00, 0x00, 0x00, 0x42];
const BALANCE_FEN: u32 = 5_000;

/// Issues the card: load file, instance, personalisation. A card that has one already is left alone.
pub fn issue(element: &mut SecureElement) -> Result<(), String> {
    let select = tsm_epurse::select::select(&PURSE_AID);
    if element.exchange(Interface::Contact, &select).is_some_and(|answer| answer.status.is_success()) {
        return Ok(());
    }
    element.reset(Interface::Contact);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let keys = development_keys(entropy).map_err(|error| format!("the sample card's keys: {error}"))?;
    let work = issue_with(element, &keys);
    crate::block_on(work).map_err(|error| format!("the sample card could not be issued: {error}"))?;
    element.reset(Interface::Contact);
    Ok(())
}

async fn issue_with(element: &mut SecureElement, keys: &dyn KeyService) -> Result<(), ProcedureError> {
    let impossible = |error: &dyn std::fmt::Display| ProcedureError::Impossible(error.to_string());
    let transmit = |command: &[u8]| match element.transmit(Interface::Contact, command) {
        answer if answer.is_empty() => Err(CardGone),
        answer => Ok(answer),
    };
    let mut card = DirectChannel::new(transmit);
    let information = public_information().map_err(|error| impossible(&error))?;
    let purse = PurseIssue {
        start: PurseStart {
            state: state().map_err(|error| impossible(&error))?,
            ..PurseStart::empty(Algorithm::TripleDes)
        },
        log: (0..10).map(transaction).collect(),
        history: (0..30).map(trip).collect(),
        ..PurseIssue::new_card(
            information,
            management(),
            Algorithm::TripleDes,
            purse_keys(keys, purse_root, &information)?,
        )
    };
    let mut script = Script::new();
    let mut channel = open_channel(&mut card, keys, &issuer_session(), &mut script).await?;
    let cap = packages::TRANSIT_PURSE.cap_file().map_err(|error| impossible(&error))?;
    let cap = CapFile::parse(&cap).map_err(|error| impossible(&error))?;
    let download = Download::new(cap.package_aid(), cap.load_file_data_block(Descriptor::Omit).into());
    let loading = Downloading::add(&mut channel, &download, &mut script)?;
    let instance = NewInstance::new(cap.package_aid(), packages::TRANSIT_PURSE.module, PURSE_AID);
    let installing = Installing::add(&mut channel, instance.command(), &mut script)?;
    let form = StoreDataForm::default();
    let personalising =
        Personalising::through_domain(&mut channel, PURSE_AID, &purse.data_groups(), form, &mut script)?;
    let mut answers = script.run(&mut card).await?;
    channel.check_authentication(&mut answers)?;
    loading.take(&mut channel, &mut answers)?;
    installing.take(&mut channel, &mut answers)?;
    personalising.take(&mut channel, &mut answers).map(drop)
}

fn issuer_session() -> SessionRequest {
    SessionRequest {
        keys: DomainKeySource::Fixed(card_keys()),
        protocol: Protocol::Scp03(0x70),
        application: ISSUER_DOMAIN,
        key_version: DEVELOPMENT_SCP03_VERSION,
        level: SecurityLevel::C_MAC,
    }
}

fn card_keys() -> KeySetReference {
    KeySetReference::new("development", "card", 1).expect("the names are letters")
}

fn purse_root(role: KeyRole) -> KeyReference {
    KeyReference::new(KeyPurpose::Purse(role), "development", "sample", 1).expect("the names are letters")
}

/// Well-known card keys, and purse roots that count up: a card that no one's terminals accept.
fn development_keys(entropy: Arc<dyn Entropy>) -> Result<SoftwareKeyService, tsm_keys::KeyError> {
    let keys = SoftwareKeyService::in_memory(entropy);
    keys.import_development_card_keys(&card_keys(), KeyAlgorithm::Aes128)?;
    for (index, role) in KeyRole::ALL.into_iter().enumerate() {
        keys.import_development(&purse_root(role), KeyAlgorithm::TripleDes, &counting(index))?;
    }
    Ok(keys)
}

/// The root of one purse key of the sample card, for terminals that are to accept it.
pub fn purse_root_value(role: KeyRole) -> [u8; 16] {
    counting(KeyRole::ALL.into_iter().position(|known| known == role).unwrap_or_default())
}

fn counting(index: usize) -> [u8; 16] {
    std::array::from_fn(|byte| (0x10 * (index as u8 + 1)) ^ byte as u8)
}

fn public_information() -> Result<PublicInformation, Box<dyn std::error::Error>> {
    Ok(PublicInformation {
        issuer: IssuerFactor::new(ISSUER),
        application_type: PublicInformation::PURSE,
        application_version: PublicInformation::ENABLED,
        serial: ApplicationSerial::from_digits(CARD_DIGITS).map_err(|_| "the card number has 19 digits")?,
        enabled_on: Date::from_calendar(2025, 1, 1)?,
        expires_on: Date::from_calendar(2045, 12, 31)?,
        issuer_data: [0, 0],
    })
}

fn management() -> Management {
    Management {
        country: Management::CHINA,
        province: [0x10, 0x00],
        city: [0x10, 0x00],
        interoperability: 1,
        kind: CardKind::Ordinary,
        reserved: [0; 49],
    }
}

fn state() -> Result<PurseState, tsm_epurse::card::StateError> {
    PurseState::new(
        Amount::from_fen(BALANCE_FEN),
        OverdraftLimit::NONE,
        OverdraftLimit::NONE,
        OnlineCounter::new(2),
        OfflineCounter::new(30),
    )
}

/// The purchase `back` steps before the newest, of 3.00 yuan each.
fn transaction(back: u8) -> LogRecord {
    LogRecord {
        sequence: TransactionSequence::from_bytes(u16::from(30 - back).to_be_bytes()),
        overdraft_limit: OverdraftLimit::NONE,
        amount: Amount::from_fen(300),
        transaction_type: TransactionType::CompositePurchase,
        terminal: TerminalNumber::new(TERMINAL),
        at: on_day(28 - back.min(27)),
    }
}

/// The trip record `back` steps before the newest: exits and entries in turn.
fn trip(back: u8) -> HistoryRecord {
    let exit = back.is_multiple_of(2);
    HistoryRecord {
        history_type: if exit { HistoryType::Exit } else { HistoryType::Entry },
        terminal: [0, 0, 0x09, 0x99, 0x00, 0x00, 0x00, 0x42],
        industry: Industry::Rail,
        line: [0x01, 0x00],
        station: [0x00, back + 1],
        operator: [0x00, 0x01],
        reserved: 0,
        amount: Amount::from_fen(if exit { 300 } else { 0 }),
        balance: Amount::from_fen(BALANCE_FEN + 300 * u32::from(back.div_ceil(2))),
        at: on_day(28 - back.min(27)),
        acquirer_city: [0x10, 0x00],
        acquirer: ISSUER,
        filler: [0; 6],
    }
}

fn on_day(day: u8) -> DateTime {
    DateTime::from_calendar((2026, 10, day), (8, 30, 0)).expect("October has these days")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsm_iso7816::CommandApdu;
    use tsm_se::card::SystemRandomness;
    use tsm_se::profile::Profile;

    fn ask(element: &mut SecureElement, command: &str) -> Vec<u8> {
        let command = CommandApdu::parse(&hex::decode(command).unwrap()).unwrap();
        let response = element.exchange(Interface::Contactless, &command).unwrap();
        assert!(response.status.is_success(), "{command:?}: {}", response.status);
        response.data
    }

    /// Plain APDUs of any reader give the T-Union layout, all ten and all thirty records included.
    ///
    /// req: B-6.3.a, B-9.2.8.a
    #[test]
    fn the_card_reads_as_a_transit_card() {
        let mut element =
            SecureElement::create(&Profile::development(&[7; 8]), Box::new(SystemRandomness)).unwrap();
        issue(&mut element).unwrap();
        let fci = ask(&mut element, "00A4040008A00000063201010500");
        assert!(fci.starts_with(&hex::decode("6F318408A000000632010105A5259F0801029F0C1E").unwrap()));
        let information = ask(&mut element, "00B095001E");
        assert!(fci.ends_with(&information));
        assert_eq!(ask(&mut element, "805C000204"), BALANCE_FEN.to_be_bytes());
        for number in 1..=10u8 {
            let record = ask(&mut element, &format!("00B2{number:02X}C417"));
            assert_eq!((record.len(), record[1]), (23, 31 - number));
        }
        for number in 1..=30u8 {
            let record = ask(&mut element, &format!("00B2{number:02X}F430"));
            assert_eq!((record.len(), record[13]), (48, number));
        }
    }

    #[test]
    fn issuing_twice_leaves_the_first_card() {
        let mut element =
            SecureElement::create(&Profile::development(&[7; 8]), Box::new(SystemRandomness)).unwrap();
        issue(&mut element).unwrap();
        let writes = element.writes();
        issue(&mut element).unwrap();
        assert_eq!(element.writes(), writes);
    }
}
