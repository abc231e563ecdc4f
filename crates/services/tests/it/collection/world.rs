//! A centre with two institutions, and what they deliver.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tsm_api::HexBytes;
use tsm_api::clearing::collection::{BatchHeader, BatchRow, TerminalBatch};
use tsm_api::clearing::{Books, Consumption, NewAccount};
use tsm_api::clearing_files::{TransactionRecord, rows_digest, write_file};
use tsm_api::clearing_transport::{FrameMac, MacError};
use tsm_api::client::files::{FileClient, NamedFile, Organisation};
use tsm_api::client::{ClearingPeer, ClientError};
use tsm_api::problem::ProblemCode;
use tsm_api::signature::MessageVerifier;
use tsm_domain::TerminalNumber;
use tsm_epurse::commands::PurchaseKind;
use tsm_keys::{KeyAlgorithm, KeyPurpose, KeyReference, KeyService as _, SoftwareKeyService};
use tsm_services::clearing::{
    Clearing, FileServer, Parts, Protection, Terminals, TransportSettings, routes, serve_files,
};
use tsm_services::runtime::Environment;
use tsm_services::server::Server;
use tsm_storage::ClearingStore as _;
use tsm_storage::clerks::ClerkRole;
use tsm_storage::memory::{Faults, MemoryClearing};
use tsm_storage::shared::IncidentFilter;
use tsm_storage::shared::Incidents as _;

use crate::centre_clerks::session_of;
use crate::institution::Institution;
use crate::purse_card::{PREFIX, PurseCard, TERMINAL, import_tac_root, purse_keys};
use crate::support::{Net, SystemClock, SystemEntropy, environment};

/// The terminal that signs its batches.
pub const SIGNING: [u8; 6] = [0x09, 0x99, 0, 0, 0, 0x43];
/// A terminal of the other institution.
pub const FOREIGN: [u8; 6] = [0x09, 0x99, 0, 0, 0, 0x44];

/// The key of the city's frames.
pub const FRAME_KEY: [u8; 16] = [0x5A; 16];

pub struct World {
    pub net: Net,
    pub keys: SoftwareKeyService,
    pub faults: Arc<Faults>,
    pub store: Arc<MemoryClearing>,
    pub city: Institution,
    pub other: Institution,
    pub store_key: tsm_api::signature::SoftwareSigner,
    pub environment: Environment,
    pub centre: Arc<Clearing>,
    pub server: Server,
    pub peer: ClearingPeer,
}

pub fn terminal(bytes: [u8; 6]) -> TerminalNumber {
    TerminalNumber::from_bcd(bytes).unwrap()
}

fn sealing_key() -> KeyReference {
    KeyReference::new(KeyPurpose::Sealing, "centre", "parked", 1).unwrap()
}

fn frame_key() -> KeyReference {
    KeyReference::new(KeyPurpose::ClearingTransport, "centre", "city", 1).unwrap()
}

/// The MAC as the city computes it.
pub struct CityMac(pub SoftwareKeyService);

impl FrameMac for CityMac {
    fn mac(&self, covered: &[u8]) -> Result<[u8; 8], MacError> {
        self.0.frame_mac(&frame_key(), covered).map_err(|error| MacError(error.to_string()))
    }
}

pub const CITY: Organisation<'static> = Organisation { name: "City Transit", code: "CITY" };

impl World {
    pub async fn new() -> Self {
        Self::in_environment(environment()).await
    }

    pub async fn in_environment(environment: Environment) -> Self {
        let net = Net::new();
        let keys = SoftwareKeyService::in_memory(Arc::new(SystemEntropy));
        import_tac_root(&keys);
        keys.generate(&sealing_key(), KeyAlgorithm::Aes256).unwrap();
        keys.import_development(&frame_key(), KeyAlgorithm::Aes128, &FRAME_KEY).unwrap();
        let (city, other) = (Institution::new(&net, "CITY"), Institution::new(&net, "OTHER"));
        let store_key = Institution::new(&net, "STORE").signer;
        let faults = Arc::new(Faults::default());
        let store = Arc::new(MemoryClearing::with_faults(faults.clone()));
        let centre = build(&keys, store.clone(), &city, &other, &store_key, &environment);
        let server = net.serve(routes(centre.clone()).into_router()).await;
        let peer = ClearingPeer::new(city.client(&net, &server, environment.clock.clone()));
        Self { net, keys, faults, store, city, other, store_key, environment, centre, server, peer }
    }

    /// The process ends and another begins on what the store kept.
    pub async fn restart(&mut self) {
        self.faults.restart();
        self.centre = build(
            &self.keys,
            self.store.clone(),
            &self.city,
            &self.other,
            &self.store_key,
            &self.environment,
        );
        self.server = self.net.serve(routes(self.centre.clone()).into_router()).await;
        let clock = self.environment.clock.clone();
        self.peer = ClearingPeer::new(self.city.client(&self.net, &self.server, clock));
    }

    /// The city's connection with the session of one of its people, who proposes and decides.
    pub async fn person(&self, name: &str) -> ClearingPeer {
        self.person_of(&self.city, "CITY", name).await
    }

    /// The same of the other institution.
    pub async fn other_person(&self, name: &str) -> ClearingPeer {
        self.person_of(&self.other, "OTHER", name).await
    }

    async fn person_of(&self, institution: &Institution, number: &str, name: &str) -> ClearingPeer {
        let roles = [ClerkRole::Proposer, ClerkRole::Approver];
        let clock = self.environment.clock.clone();
        let session = session_of(&*self.store, number, name, &roles, clock.now()).await;
        ClearingPeer::new(institution.client(&self.net, &self.server, clock).with_bearer(session))
    }

    pub fn other_peer(&self) -> ClearingPeer {
        ClearingPeer::new(self.other.client(&self.net, &self.server, Arc::new(SystemClock)))
    }

    /// An account of a new card with this much on it.
    pub async fn card(&self, own: u64, fen: u32) -> PurseCard {
        let mut card = PurseCard::new(own);
        self.open(&card).await;
        self.peer.credit(&card.load(u128::from(own) * 1_000, fen)).await.unwrap();
        card
    }

    pub async fn open(&self, card: &PurseCard) {
        let account = NewAccount {
            card: card.wire(),
            se_id: HexBytes([&[0x10; 7][..], &[card.wire().0[9]]].concat()),
            aid: HexBytes(vec![0xA0; 8]),
        };
        self.peer.open_account(&account).await.unwrap();
    }

    /// The file server on a private line, with the city's frame key or without any.
    pub async fn file_server(&self, protection: Protection) -> FileServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let keys = match protection {
            Protection::MacOnly => BTreeMap::from([("CITY".to_owned(), frame_key())]),
            Protection::Tls(_) => BTreeMap::new(),
        };
        serve_files(self.centre.clone(), listener, TransportSettings { protection, keys }).unwrap()
    }

    pub fn mac(&self) -> CityMac {
        CityMac(self.keys.clone())
    }

    pub async fn incidents(&self) -> Vec<String> {
        let incidents = self.store.incidents(IncidentFilter::Open, 100).await.unwrap();
        incidents.into_iter().map(|incident| incident.kind).collect()
    }

    /// The money equation holds; this much was spent.
    pub async fn spent(&self) -> u64 {
        let totals = self.store.totals().await.unwrap();
        assert_eq!(totals.check(), Ok(()));
        let books: Books = self.peer.books().await.unwrap();
        assert_eq!(i128::from(books.spent_fen), totals.spent);
        books.spent_fen
    }

    pub async fn frozen(&self, card: &PurseCard) -> Option<String> {
        let account = self.store.account(card.number).await.unwrap().unwrap().account;
        account.freeze.map(|freeze| freeze.reason)
    }
}

fn build(
    keys: &SoftwareKeyService,
    store: Arc<MemoryClearing>,
    city: &Institution,
    other: &Institution,
    store_key: &tsm_api::signature::SoftwareSigner,
    environment: &Environment,
) -> Arc<Clearing> {
    let key = MessageVerifier::from_point(store_key.public_key().as_bytes()).unwrap();
    Clearing::new(Parts {
        store,
        keys: Arc::new(keys.clone()),
        environment: environment.clone(),
        institutions: vec![city.peer(), other.peer()],
        issuers: vec![(PREFIX.into(), purse_keys())],
        sealing_key: sealing_key(),
        terminals: Terminals::of("CITY", [terminal(TERMINAL), terminal(SIGNING)])
            .with_key(terminal(SIGNING), key)
            .and(Terminals::of("OTHER", [terminal(FOREIGN)])),
        duties: tsm_services::clearing::Duties::of_issuer(PREFIX, "CITY".parse().unwrap()),
    })
}

/// A transaction as a terminal's record.
pub fn row(number: u64, told: &Consumption) -> BatchRow {
    BatchRow {
        number,
        card: told.card.clone(),
        transaction_type: told.transaction_type,
        amount_fen: told.amount_fen,
        balance_fen: told.balance_fen,
        offline_counter: told.offline_counter,
        terminal_counter: told.terminal_counter,
        date: told.date.clone(),
        time: told.time.clone(),
        tac: told.tac.clone(),
    }
}

/// Purchases of a card as a terminal's records.
pub fn trips(card: &mut PurseCard, from: u64, amounts: &[u32]) -> Vec<BatchRow> {
    (from..)
        .zip(amounts)
        .map(|(number, amount)| row(number, &card.pay(PurchaseKind::Composite, *amount)))
        .collect()
}

/// The record of a lock.
pub fn lock(number: u64, card: &PurseCard) -> BatchRow {
    BatchRow {
        number,
        card: card.wire(),
        transaction_type: 0x0A,
        amount_fen: 0,
        balance_fen: 0,
        offline_counter: 0,
        terminal_counter: 0,
        date: HexBytes(vec![0x20, 0x26, 0x11, 0x20]),
        time: HexBytes(vec![0x09, 0, 0]),
        tac: None,
    }
}

pub fn batch(sequence: u64, rows: &[BatchRow]) -> TerminalBatch {
    batch_of(TERMINAL, sequence, rows)
}

pub fn batch_of(number: [u8; 6], sequence: u64, rows: &[BatchRow]) -> TerminalBatch {
    let digest = rows_digest(terminal(number), rows).unwrap();
    TerminalBatch {
        header: BatchHeader {
            terminal: HexBytes(number.to_vec()),
            sequence,
            count: rows.len() as u32,
            sum_fen: rows.iter().map(|row| u64::from(row.amount_fen)).sum(),
            digest: HexBytes(digest.0.to_vec()),
            signature: None,
        },
        rows: rows.to_vec(),
    }
}

/// An upload file of the terminal's records.
pub fn file_of(name: &str, rows: &[BatchRow]) -> NamedFile {
    let records: Vec<_> =
        rows.iter().map(|row| TransactionRecord::of_row(terminal(TERMINAL), row).unwrap()).collect();
    let text = write_file(20_261_120, "CENTRE", &records).unwrap();
    NamedFile { name: name.into(), content: text.into_bytes() }
}

pub async fn connect(server: &FileServer) -> TcpStream {
    TcpStream::connect(server.address()).await.unwrap()
}

/// Uploads a file over one connection.
pub async fn upload(
    world: &World,
    server: &FileServer,
    files: &[NamedFile],
) -> Vec<(usize, tsm_api::clearing_transport::Outcome)> {
    let mac = world.mac();
    FileClient::new(connect(server).await, &mac, CITY).upload(files).await.unwrap()
}

pub fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    let error = result.unwrap_err();
    error.code().unwrap_or_else(|| panic!("{error}"))
}
