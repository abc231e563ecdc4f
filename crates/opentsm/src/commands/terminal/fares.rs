//! What a terminal on the command line tells the centre and learns of it: its fare tables.

use jiff::Timestamp;
use serde_json::{Value, json};
use tsm_api::HexBytes;
use tsm_api::clearing::fares::{PublishedFares, SignedFares};
use tsm_api::clearing::lists::TerminalStatus;
use tsm_api::client::{ClearingPeer, ClientError};
use tsm_api::signature::MessageVerifier;
use tsm_domain::money::fare::FareBook;
use tsm_terminal::{RootKeys, Terminal};

use super::{Store, words};

type AtHand = Terminal<RootKeys, Store>;

/// Tells what the terminal has, learns which fare tables there are, and fetches those that it does not hold. The
/// centre's key comes over the institution's own connection; a terminal in the field has it in its configuration.
pub fn refresh(
    terminal: &mut AtHand,
    centre: &ClearingPeer,
    runtime: &tokio::runtime::Runtime,
    now: Timestamp,
) -> Result<(), String> {
    let told = runtime.block_on(told(terminal, centre, now));
    let (key, heads) = told.map_err(|error| format!("the centre did not answer the terminal: {error}"))?;
    let key = MessageVerifier::from_point(key.as_bytes()).map_err(|error| words::chain(&error))?;
    let wanted = terminal.announce_fares(&heads, &key, now).map_err(|error| words::chain(&error))?;
    if wanted.is_empty() {
        return Ok(());
    }
    for version in wanted {
        let fetched: Result<PublishedFares, _> = runtime.block_on(centre.fares(version));
        let fetched = fetched.map_err(|error| format!("the fare table could not be read: {error}"))?;
        terminal.take_fares(&fetched, &key, now).map_err(|error| words::chain(&error))?;
    }
    let again = runtime.block_on(centre.terminal_status(&status(terminal, now)));
    again.map(drop).map_err(|error| format!("the centre did not hear of the new fares: {error}"))
}

async fn told(
    terminal: &AtHand,
    centre: &ClearingPeer,
    now: Timestamp,
) -> Result<(HexBytes, Vec<SignedFares>), ClientError> {
    let key = centre.list_key().await?.point;
    Ok((key, centre.terminal_status(&status(terminal, now)).await?.fares))
}

fn status(terminal: &AtHand, now: Timestamp) -> TerminalStatus {
    TerminalStatus {
        terminal: HexBytes(terminal.number().to_bytes().to_vec()),
        list_version: terminal.list().list.version().0,
        fare_version: terminal.fare_version(now),
        fares_held: terminal.fare_book().map_or(0, FareBook::highest_held),
        undelivered: terminal.state().undelivered() as u64,
    }
}

/// The versions that a terminal knows.
pub fn versions(terminal: &AtHand, now: Timestamp) -> Value {
    let book = terminal.fare_book();
    let versions = book.into_iter().flat_map(|book| book.heads().map(move |head| (book, head)));
    let versions: Vec<_> = versions
        .map(|(book, head)| {
            json!({
                "version": head.version, "from": head.valid_from, "until": head.valid_until,
                "held": book.table(head.version).is_some(),
            })
        })
        .collect();
    json!({ "terminal": hex::encode(terminal.number().to_bytes()), "in_use": terminal.fare_version(now),
        "versions": versions })
}
