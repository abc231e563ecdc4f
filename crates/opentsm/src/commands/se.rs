//! `opentsm se`: the software secure element as a reader.
//!
//! With `vpcd` in `pcscd`, the card appears in two slots of "Virtual PCD": contact and contactless.
//! With `--listen`, any program that speaks the same frames can dial the card without PC/SC.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tsm_se::card::SystemRandomness;
use tsm_se::memory::{FileDriver, LoadFileLibrary};
use tsm_se::profile::{DEVELOPMENT_SCP02_VERSION, DEVELOPMENT_SCP03_VERSION, Profile};
use tsm_se::readers::{Arrangement, ReaderCard, Slot, VPCD_CONTACT_PORT};
use tsm_se::{Interface, SecureElement};

use crate::apdu_words;
use crate::city::ceremony::{self, CardMakerKeys, with_rom_applets};
use crate::city::folder::CityFolder;
use crate::city::se_id;
use crate::folders;
use crate::stop::Attendance;

/// The file in a phone's folder that tells where its running secure element is.
pub const CARD_ADDRESS: &str = "card.address.json";

/// Options of `opentsm se`.
#[derive(Debug, Args)]
pub struct Options {
    /// Where `vpcd` listens: the contact slot's port; the contactless slot has the next one.
    /// [default: 127.0.0.1:35963]
    #[arg(long, value_name = "ADDRESS")]
    vpcd: Option<SocketAddr>,

    /// Listen here (and on the next port for contactless) instead of dialling `vpcd`; port 0 lets the
    /// system choose both. [default with --city: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "vpcd")]
    listen: Option<SocketAddr>,

    /// Be a phone of the city in this folder (`opentsm up --data`): its card maker's keys, and its state
    /// in the phone's folder.
    #[arg(long, value_name = "DIR", requires = "number", conflicts_with_all = ["state", "scp", "se_id", "transit_card"])]
    city: Option<PathBuf>,

    /// Which phone of the city; a new one is made when it is not there.
    #[arg(long, value_name = "N", requires = "city")]
    number: Option<u32>,

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

    /// Say where the interfaces are as one JSON object.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    attendance: Attendance,
}

/// Where the interfaces of a running secure element are.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Addresses {
    /// The contact interface: the wallet's.
    pub contact: SocketAddr,
    /// The contactless interface: the gates'.
    pub contactless: SocketAddr,
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

/// Shows the card until the program is asked to stop.
pub fn run(options: &Options) -> Result<(), String> {
    let phone = Phone::of(options)?;
    let mut element = match &phone {
        Some(phone) => city_element(&phone.city, &phone.maker()?, phone.number)?,
        None => open_or_create(options)?,
    };
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
    let addresses = Addresses { contact: slots[0].address(), contactless: slots[1].address() };
    if let Some(phone) = &phone {
        phone.publish(addresses)?;
    }
    announce(options, phone.as_ref(), addresses);
    wait(options.attendance)?;
    for slot in slots {
        slot.stop();
    }
    phone.map_or(Ok(()), |phone| phone.withdraw())
}

/// A phone of a city, in use by this process.
struct Phone {
    city: CityFolder,
    number: u32,
    _mark: File,
}

impl Phone {
    fn of(options: &Options) -> Result<Option<Self>, String> {
        let Some((city, number)) = options.city.as_ref().zip(options.number) else { return Ok(None) };
        if !city.join("plan.json").exists() {
            return Err(format!("there is no city in {}; `opentsm up --data` makes one", city.display()));
        }
        let city = CityFolder::new(city).map_err(|error| error.to_string())?;
        let folder = city.phone(number);
        let failed = |error| format!("{}: {error}", folder.display());
        folders::make_private(&folder).map_err(failed)?;
        let mark = folders::occupy(&folder).map_err(failed)?;
        let mark = mark.ok_or_else(|| format!("phone {number} is switched on in another process"))?;
        Ok(Some(Self { city, number, _mark: mark }))
    }

    fn maker(&self) -> Result<CardMakerKeys, String> {
        self.city.read_card_maker().map_err(|error| error.to_string())
    }

    fn address_file(&self) -> PathBuf {
        self.city.phone(self.number).join(CARD_ADDRESS)
    }

    fn publish(&self, addresses: Addresses) -> Result<(), String> {
        let text = serde_json::to_vec(&addresses).expect("two addresses can always be written");
        let file = self.address_file();
        folders::write_private(&file, &text).map_err(|error| format!("{}: {error}", file.display()))
    }

    fn withdraw(&self) -> Result<(), String> {
        let file = self.address_file();
        std::fs::remove_file(&file).map_err(|error| format!("{}: {error}", file.display()))
    }
}

/// The secure element of the city's phone `number`: the one in its folder, or a new one.
pub fn city_element(city: &CityFolder, maker: &CardMakerKeys, number: u32) -> Result<SecureElement, String> {
    let path = city.card(number);
    if path.exists() {
        return open(&path);
    }
    let folder = city.phone(number);
    folders::make_private(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let profile = ceremony::profile(maker, &se_id(number), LoadFileLibrary::new());
    SecureElement::create_on(Box::new(FileDriver::new(&path)), &profile, Box::new(SystemRandomness))
        .map_err(|error| format!("the card could not be made: {error}"))
}

fn open_or_create(options: &Options) -> Result<SecureElement, String> {
    match &options.state {
        Some(path) if path.exists() => open(path),
        state => create(options, state.as_deref()),
    }
}

fn open(path: &Path) -> Result<SecureElement, String> {
    let driver = Box::new(FileDriver::new(path));
    SecureElement::open_on(driver, LoadFileLibrary::new(), Box::new(SystemRandomness))
        .map_err(|error| format!("{} holds no card that can be used: {error}", path.display()))
}

fn create(options: &Options, state: Option<&Path>) -> Result<SecureElement, String> {
    let se_id = hex::decode(&options.se_id).ok().filter(|se_id| (1..=20).contains(&se_id.len()));
    let se_id = se_id.ok_or("--se-id takes 1 to 20 bytes in hexadecimal, for example 0001020304050607")?;
    let default_key_version = match options.scp {
        DefaultProtocol::Scp02 => DEVELOPMENT_SCP02_VERSION,
        DefaultProtocol::Scp03 => DEVELOPMENT_SCP03_VERSION,
    };
    let profile = with_rom_applets(Profile { default_key_version, ..Profile::development(&se_id) });
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
    let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let own_port = options.city.as_ref().filter(|_| options.vpcd.is_none()).map(|_| loopback(0));
    match options.listen.or(own_port) {
        Some(address) => (Arrangement::Listen(address), Arrangement::Listen(next(address))),
        None => {
            let vpcd = options.vpcd.unwrap_or(loopback(VPCD_CONTACT_PORT));
            (Arrangement::Dial(vpcd), Arrangement::Dial(next(vpcd)))
        }
    }
}

fn announce(options: &Options, phone: Option<&Phone>, addresses: Addresses) {
    if options.json {
        say!("{}", serde_json::to_string(&addresses).expect("two addresses can always be written"));
        return;
    }
    let dials = matches!(arrangements(options).0, Arrangement::Dial(_));
    let verb = if dials { "dialling vpcd at" } else { "listening on" };
    say!("contact      {verb} {}", addresses.contact);
    say!("contactless  {verb} {}", addresses.contactless);
    match phone {
        Some(phone) => {
            let folder = phone.city.phone(phone.number);
            say!(
                "phone {} of the city; its wallet: opentsm wallet --phone {}",
                phone.number,
                folder.display()
            );
        }
        None => say!("development keys 404142...4F: SCP02 key version 20, SCP03 key version 30"),
    }
    say!("stop with Ctrl-C");
}

fn wait(attendance: Attendance) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the program cannot wait for Ctrl-C: {error}"))?;
    runtime.block_on(async { attendance.until_asked().await });
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
        say!("{interface:?}: {}", apdu_words::describe(command, &response));
        response
    }
}
