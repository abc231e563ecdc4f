//! `opentsm se`: the software secure element as a reader.
//!
//! With `vpcd` in `pcscd`, the card appears in two slots of "Virtual PCD": contact and contactless.
//! With `--listen`, any program that speaks the same frames can dial the card without PC/SC.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::{Args, ValueEnum};
use tsm_se::card::SystemRandomness;
use tsm_se::memory::{FileDriver, LoadFileLibrary};
use tsm_se::profile::{DEVELOPMENT_SCP02_VERSION, DEVELOPMENT_SCP03_VERSION, Profile};
use tsm_se::readers::{Arrangement, ReaderCard, Slot, VPCD_CONTACT_PORT};
use tsm_se::{Interface, SecureElement};

use crate::apdu_words;
use crate::city::ceremony::with_contactless_directory;

/// Options of `opentsm se`.
#[derive(Debug, Args)]
pub struct Options {
    /// Where `vpcd` listens: the contact slot's port; the contactless slot has the next one.
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), VPCD_CONTACT_PORT))]
    vpcd: SocketAddr,

    /// Listen here (and on the next port for contactless) instead of dialling `vpcd`; port 0 lets the
    /// system choose both.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "vpcd")]
    listen: Option<SocketAddr>,

    /// Keep the card in this file. A new card is made when the file is not there.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// The secure-channel protocol that answers to key version 00.
    #[arg(long, value_enum, default_value_t = DefaultProtocol::Scp03)]
    scp: DefaultProtocol,

    /// The SE-ID of a new card, in hexadecimal (1 to 20 bytes).
    #[arg(long, value_name = "HEX", default_value = "0001020304050607")]
    se_id: String,

    /// Issue a transit card with an invented number and some history onto a new card.
    #[arg(long)]
    transit_card: bool,

    /// Show each APDU in words. Data fields are shown by length only.
    #[arg(long)]
    trace: bool,
}

/// Which protocol is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DefaultProtocol {
    /// SCP02, key version 20.
    #[value(name = "02")]
    Scp02,
    /// SCP03, key version 30.
    #[value(name = "03")]
    Scp03,
}

/// Shows the card until the program is interrupted.
pub fn run(options: &Options) -> Result<(), String> {
    let mut element = open_or_create(options)?;
    if options.transit_card {
        crate::sample_card::issue(&mut element)?;
    }
    let card: Arc<Mutex<dyn ReaderCard>> =
        if options.trace { Arc::new(Mutex::new(Traced(element))) } else { Arc::new(Mutex::new(element)) };
    let (contact, contactless) = arrangements(options);
    let start = |interface, arrangement| {
        Slot::start(card.clone(), interface, arrangement).map_err(|error| error.to_string())
    };
    let slots = [start(Interface::Contact, contact)?, start(Interface::Contactless, contactless)?];
    announce(options, &slots);
    wait_for_interrupt()?;
    for slot in slots {
        slot.stop();
    }
    Ok(())
}

fn open_or_create(options: &Options) -> Result<SecureElement, String> {
    let randomness = Box::new(SystemRandomness);
    match &options.state {
        Some(path) if path.exists() => {
            SecureElement::open_on(Box::new(FileDriver::new(path)), LoadFileLibrary::new(), randomness)
                .map_err(|error| format!("{} holds no card that can be used: {error}", path.display()))
        }
        state => create(options, state.as_deref()),
    }
}

fn create(options: &Options, state: Option<&Path>) -> Result<SecureElement, String> {
    let se_id = hex::decode(&options.se_id).ok().filter(|se_id| (1..=20).contains(&se_id.len()));
    let se_id = se_id.ok_or("--se-id takes 1 to 20 bytes in hexadecimal, for example 0001020304050607")?;
    let default_key_version = match options.scp {
        DefaultProtocol::Scp02 => DEVELOPMENT_SCP02_VERSION,
        DefaultProtocol::Scp03 => DEVELOPMENT_SCP03_VERSION,
    };
    let profile = with_contactless_directory(Profile { default_key_version, ..Profile::development(&se_id) });
    let randomness = Box::new(SystemRandomness);
    let made = match state {
        Some(path) => SecureElement::create_on(Box::new(FileDriver::new(path)), &profile, randomness),
        None => SecureElement::create(&profile, randomness),
    };
    made.map_err(|error| format!("the card could not be made: {error}"))
}

fn arrangements(options: &Options) -> (Arrangement, Arrangement) {
    let next = |address: SocketAddr| {
        let port = if address.port() == 0 { 0 } else { address.port().saturating_add(1) };
        SocketAddr::new(address.ip(), port)
    };
    match options.listen {
        Some(address) => (Arrangement::Listen(address), Arrangement::Listen(next(address))),
        None => (Arrangement::Dial(options.vpcd), Arrangement::Dial(next(options.vpcd))),
    }
}

fn announce(options: &Options, slots: &[Slot; 2]) {
    let verb = if options.listen.is_some() { "listening on" } else { "dialling vpcd at" };
    println!("contact      {verb} {}", slots[0].address());
    println!("contactless  {verb} {}", slots[1].address());
    println!("development keys 404142...4F: SCP02 key version 20, SCP03 key version 30");
    println!("stop with Ctrl-C");
}

fn wait_for_interrupt() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the program cannot wait for Ctrl-C: {error}"))?;
    runtime.block_on(crate::stop::requested());
    Ok(())
}

/// A card whose APDUs are shown in words.
struct Traced(SecureElement);

impl ReaderCard for Traced {
    fn answer_to_reset(&self) -> Vec<u8> {
        self.0.answer_to_reset()
    }

    fn power_on(&mut self, interface: Interface) {
        ReaderCard::power_on(&mut self.0, interface);
    }

    fn power_off(&mut self, interface: Interface) {
        ReaderCard::power_off(&mut self.0, interface);
    }

    fn transmit(&mut self, interface: Interface, command: &[u8]) -> Vec<u8> {
        let response = ReaderCard::transmit(&mut self.0, interface, command);
        println!("{interface:?}: {}", apdu_words::describe(command, &response));
        response
    }
}
