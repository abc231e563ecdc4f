//! Independent tools and hosts drive the software secure element over PC/SC: OpenSC's tool,
//! `pcsc_scan`, `scriptor`, and the `scll` library (the `gp-host` program), none of which share
//! code with it. Every test through `pcscd` runs in namespaces of its own; see
//! [`tsm_testing::pcsc`]. A host in Python, which shares no code either, speaks `vpcd`'s frames itself.

use std::io::{BufRead, BufReader, Lines};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use tsm_capfile::{CapBuilder, Compression, Descriptor};
use tsm_iso7816::Aid;
use tsm_se::card::SystemRandomness;
use tsm_se::open::settings::InitialKeys;
use tsm_se::readers::{Arrangement, SharedCard, Slot, VPCD_CONTACT_PORT, VPCD_CONTACTLESS_PORT};
use tsm_se::{Interface, Profile, SecureElement};
use tsm_testing::pcsc::{self, Pcscd, Said, VirtualReader};

/// The keys of the development profile.
const KEY: &str = "404142434445464748494A4B4C4D4E4F";
const ISD: &str = "A000000151000000";
const SE_ID: [u8; 10] = [0x86, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x42];
/// The greeting card: package, module and an instance.
const PACKAGE: &str = "F04F54534D0105";
const MODULE: &str = "F04F54534D010501";
const INSTANCE: &str = "F04F54534D010501AA";

/// A card in a reader that `pcscd` shows.
struct Reader {
    names: Vec<String>,
    _slots: [Slot; 2],
    pcscd: Pcscd,
}

fn card() -> SharedCard {
    let card = SecureElement::create(&Profile::development(&SE_ID), Box::new(SystemRandomness)).unwrap();
    Arc::new(Mutex::new(card))
}

fn slots(card: &SharedCard, arrangement: impl Fn(u16) -> Arrangement) -> [Slot; 2] {
    [(Interface::Contact, VPCD_CONTACT_PORT), (Interface::Contactless, VPCD_CONTACTLESS_PORT)]
        .map(|(interface, port)| Slot::start(Arc::clone(card), interface, arrangement(port)).unwrap())
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A development card behind a `pcscd` that dials it.
fn reader() -> Reader {
    reader_with(&card())
}

fn reader_with(card: &SharedCard) -> Reader {
    let slots = slots(card, |port| Arrangement::Listen(local(port)));
    let mut pcscd = Pcscd::start(VirtualReader::Dials { first_port: VPCD_CONTACT_PORT }).unwrap();
    let names = pcscd.readers(2).unwrap();
    Reader { names, _slots: slots, pcscd }
}

fn tool(program: &str, package: &'static str, arguments: &[&str]) -> String {
    let said = pcsc::run(program, package, arguments).unwrap();
    assert!(said.success, "{program} {arguments:?} failed:\n{}", said.text);
    said.text
}

/// The secure channel of one run of the independent host.
#[derive(Clone, Copy)]
struct Channel {
    protocol: &'static str,
    i: &'static str,
    version: &'static str,
    level: &'static str,
}

const SCP03: Channel = Channel { protocol: "scp03", i: "70", version: "30", level: "33" };
const SCP02: Channel = Channel { protocol: "scp02", i: "55", version: "20", level: "03" };

impl Channel {
    fn at(self, level: &'static str) -> Self {
        Self { level, ..self }
    }
}

fn host_says(program: &Path, reader: &str, channel: Channel, key: &str, command: &[&str]) -> Said {
    let mut arguments = vec![reader, channel.protocol, channel.i, channel.version, channel.level, key];
    arguments.extend(command);
    pcsc::run(program.to_str().unwrap(), "cargo", &arguments).unwrap()
}

fn host(program: &Path, reader: &str, channel: Channel, command: &[&str]) -> String {
    let said = host_says(program, reader, channel, KEY, command);
    assert!(said.success, "{} {} {command:?} failed:\n{}", channel.protocol, channel.level, said.text);
    said.text
}

#[test]
fn tools_see_the_reader() {
    pcsc::isolated("tools_see_the_reader", || {
        let reader = reader();
        assert_eq!(reader.names, ["OpenTSM 00 00", "OpenTSM 00 01"]);
        for number in ["0", "1"] {
            let atr = tool("opensc-tool", "opensc", &["--reader", number, "--atr"]);
            assert_eq!(atr.trim(), "3b:80:01:81");
        }
        let scan = tool("pcsc_scan", "pcsc-tools", &["-r"]);
        assert!(scan.contains("OpenTSM 00 00") && scan.contains("OpenTSM 00 01"), "{scan}");
        let cards = tool("pcsc_scan", "pcsc-tools", &["-c", "-n"]);
        assert!(cards.contains("3B 80 01 81"), "{cards}");
        reader.pcscd.stop().unwrap();
    })
    .unwrap();
}

/// The host's path and the reader's path lead to the same card.
///
/// req: B-6.1.1.a, B-6.1.2.a
#[test]
fn raw_scripts_reach_both_interfaces() {
    pcsc::isolated("raw_scripts_reach_both_interfaces", || {
        let reader = reader();
        let script = "00 A4 04 00 08 A0 00 00 01 51 00 00 00 00\n80 CA 00 66 00\n80 E6 02 00 00\n";
        for name in &reader.names {
            let said =
                pcsc::run_with_input("scriptor", "pcsc-tools", &["-r", name, "-p", "T=1"], script).unwrap();
            assert!(said.success, "{}", said.text);
            assert_eq!(said.text.matches("90 00 : Normal processing").count(), 2, "{}", said.text);
            assert!(said.text.contains("69 82"), "management without a session is refused: {}", said.text);
        }
    })
    .unwrap();
}

/// `pcscd` goes away and comes back; the card finds it again.
#[test]
fn the_card_dials_the_reader_again() {
    pcsc::isolated("the_card_dials_the_reader_again", || {
        let card = card();
        let _slots = slots(&card, |port| Arrangement::Dial(local(port)));
        for _ in 0..2 {
            let mut pcscd = Pcscd::start(VirtualReader::Listens).unwrap();
            assert_eq!(pcscd.readers(2).unwrap().len(), 2);
            tool("opensc-tool", "opensc", &["--reader", "1", "--send-apdu", "00A4040000"]);
            pcscd.stop().unwrap();
        }
    })
    .unwrap();
}

/// An independent host authenticates with either protocol at every level and reads the registry.
///
/// req: B-6.5.a
#[test]
fn an_independent_host_opens_secure_channels() {
    let program = pcsc::independent_host().unwrap();
    pcsc::isolated("an_independent_host_opens_secure_channels", || {
        let reader = reader();
        let contact = &reader.names[0];
        let channels = ["01", "03", "11", "13", "33"]
            .map(|level| SCP03.at(level))
            .into_iter()
            .chain(["01", "03"].map(|level| SCP02.at(level)));
        for channel in channels {
            let said = host(&program, contact, channel, &["list"]);
            assert!(said.contains(&format!("isd {ISD}")), "{said}");
            assert!(said.contains(&format!("opened {} {}", channel.version, channel.level)), "{said}");
            assert!(said.contains(&format!("domain {ISD}")), "{said}");
        }
        let wrong = host_says(&program, contact, SCP03, &KEY.replace('4', "5"), &["list"]);
        assert!(!wrong.success && wrong.text.contains("CardCryptogramFail"), "{}", wrong.text);
    })
    .unwrap();
}

/// A CAP of the greeting card in a file that the host reads.
fn cap_file(name: &str, descriptor: Descriptor, padding: usize) -> String {
    let aid = |text| Aid::from_hex(text).unwrap();
    let cap = CapBuilder::new(aid(PACKAGE))
        .applet(aid(MODULE))
        .descriptor(descriptor)
        .compression(Compression::Deflated)
        .padding(padding)
        .build()
        .unwrap();
    let path = format!("/run/{name}.cap");
    std::fs::write(&path, cap).unwrap();
    path
}

/// An independent host loads, installs and deletes a CAP over either protocol; in between the
/// application answers on the other interface.
///
/// req: B-6.2.1.b, B-6.2.7.b, B-6.2.7.c, B-6.2.7.d
#[test]
fn an_independent_host_manages_an_application() {
    let program = pcsc::independent_host().unwrap();
    pcsc::isolated("an_independent_host_manages_an_application", || {
        let reader = reader();
        let contact = &reader.names[0];
        let select = format!("00A4040009{INSTANCE}00");
        let cases = [
            (SCP03.at("01"), Descriptor::Omit, 0),
            (SCP03.at("03"), Descriptor::Include, 700),
            (SCP03, Descriptor::Omit, 3000),
            (SCP02.at("01"), Descriptor::Omit, 0),
            (SCP02, Descriptor::Include, 700),
        ];
        for (channel, descriptor, padding) in cases {
            let cap = cap_file("greeting", descriptor, padding);
            let loaded = host(&program, contact, channel, &["load", &cap]);
            assert!(loaded.contains(&format!("loaded {PACKAGE}")), "{loaded}");
            host(&program, contact, channel, &["install", PACKAGE, MODULE, INSTANCE]);

            let list = host(&program, contact, channel, &["list"]);
            assert!(list.contains(&format!("application {INSTANCE} 07")), "{list}");
            assert!(
                list.contains(&format!("file {PACKAGE} 01")) && list.contains(&format!("module {MODULE}")),
                "{list}"
            );
            let greeting = tool("opensc-tool", "opensc", &["-r", "1", "-s", &select, "-s", "8010000000"]);
            assert_eq!(greeting.matches("SW1=0x90, SW2=0x00").count(), 2, "{greeting}");

            let again = host_says(&program, contact, channel, KEY, &["load", &cap]);
            assert!(!again.success && again.text.contains("loading failed"), "{}", again.text);
            let deleted = host(&program, contact, channel, &["delete", INSTANCE, PACKAGE]);
            assert_eq!(deleted.matches("deleted").count(), 2, "{deleted}");
            let list = host(&program, contact, channel, &["list"]);
            assert!(!list.contains(PACKAGE) && !list.contains(INSTANCE), "{list}");
            let gone = tool("opensc-tool", "opensc", &["-r", "1", "-s", &select]);
            assert!(gone.contains("SW1=0x6A, SW2=0x82"), "{gone}");
        }
    })
    .unwrap();
}

/// An independent host makes a supplementary security domain and deletes it.
///
/// req: B-6.2.2.d
#[test]
fn an_independent_host_manages_a_security_domain() {
    let program = pcsc::independent_host().unwrap();
    pcsc::isolated("an_independent_host_manages_a_security_domain", || {
        let reader = reader();
        let contact = &reader.names[0];
        let domain = "F04F54534D00D1";
        let create = ["create-domain", "A0000001515350", "A000000151535041", domain];
        for channel in [SCP03, SCP02] {
            host(&program, contact, channel, &create);
            let list = host(&program, contact, channel, &["list"]);
            assert!(list.contains(&format!("domain {domain} 07")), "{list}");
            host(&program, contact, channel, &["delete-domain", domain]);
            let list = host(&program, contact, channel, &["list"]);
            assert!(!list.contains(domain), "{list}");
        }
    })
    .unwrap();
}

/// An independent host gives the issuer's domain new keys, authenticates with them, and deletes them.
#[test]
fn an_independent_host_replaces_keys() {
    let program = pcsc::independent_host().unwrap();
    pcsc::isolated("an_independent_host_replaces_keys", || {
        let reader = reader();
        let contact = &reader.names[0];
        let aes_256 = "A1".repeat(32);
        let cases = [
            (SCP03, "31", "B1".repeat(16)),
            (SCP03, "32", "C1".repeat(24)),
            (SCP03, "33", aes_256),
            (SCP02, "21", "D1".repeat(8) + &"E1".repeat(8)),
        ];
        for (channel, version, key) in cases {
            host(&program, contact, channel, &["put-keys", version, &key]);
            let new = Channel { version, ..channel };
            let said = host_says(&program, contact, new, &key, &["list"]);
            assert!(said.success && said.text.contains(&format!("opened {version}")), "{}", said.text);
            host(&program, contact, channel, &["delete-keys", version]);
            let said = host_says(&program, contact, new, &key, &["list"]);
            assert!(!said.success, "the keys are gone: {}", said.text);
        }
    })
    .unwrap();
}

/// The groups of checks of the host in Python that one card bears one after another; the last ends it.
const STRANGER_GROUPS: [&str; 10] = [
    "discover",
    "sessions",
    "content",
    "keys",
    "domains",
    "signatures",
    "channels",
    "memory",
    "malformed",
    "life_cycle",
];

/// Runs the host in Python against the card at two addresses.
fn stranger(addresses: &[String], options: &[String], groups: &[&str]) {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/stranger/gp_host.py");
    let mut arguments = vec!["-B", "-W", "ignore", program];
    arguments.extend(options.iter().chain(addresses).map(String::as_str));
    arguments.extend(groups);
    tool("python3", "python3, python3-cryptography", &arguments);
}

fn stranger_meets(profile: &Profile, groups: &[&str]) {
    let card = SecureElement::create(profile, Box::new(SystemRandomness)).unwrap();
    let slots = slots(&(Arc::new(Mutex::new(card)) as SharedCard), |_| Arrangement::Listen(local(0)));
    let options = [
        format!("--scp02-i={:02X}", profile.settings.scp02_i),
        format!("--tries={}", profile.settings.authentication_tries),
    ];
    let addresses = [0, 1].map(|slot: usize| slots[slot].address().to_string());
    stranger(&addresses, &options, groups);
}

/// The SE-ID that the host in Python knows.
const STRANGER_SE_ID: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// A host written from the standards alone, and from what public hosts send, agrees with the card
/// about sessions, content, keys, domains, signatures, channels, memory and life cycles: with either
/// protocol as the default, and with each origin of a new domain's keys.
///
/// req: B-6.5.a
#[test]
fn a_stranger_agrees_with_the_card() {
    for default_key_version in [0x20, 0x30] {
        for initial_keys in [None, Some(InitialKeys::OfAssociatedDomain)] {
            let mut profile = Profile { default_key_version, ..Profile::development(&STRANGER_SE_ID) };
            if let Some(initial_keys) = initial_keys {
                profile.settings.initial_keys = initial_keys;
                profile.settings.scp02_i = 0x75;
                profile.settings.scp03_i = 0x30;
            }
            stranger_meets(&profile, &STRANGER_GROUPS);
        }
    }
}

/// The same host opens sessions with every option of the protocols, and is refused after too many
/// wrong cryptograms.
#[test]
fn a_stranger_meets_every_protocol_option() {
    for (scp02_i, scp03_i) in
        [(0x15, 0x00), (0x35, 0x10), (0x55, 0x20), (0x75, 0x30), (0x15, 0x60), (0x75, 0x70)]
    {
        let mut profile = Profile::development(&STRANGER_SE_ID);
        profile.settings.scp02_i = scp02_i;
        profile.settings.scp03_i = scp03_i;
        stranger_meets(&profile, &["discover", "sessions"]);
        profile.settings.authentication_tries = 8;
        stranger_meets(&profile, &["velocity"]);
    }
}

/// The transit card that `opentsm se` shows. Dropping it ends the program.
struct TransitCard {
    program: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl TransitCard {
    /// Shows the card with the program that was built beside this test: a run of the whole
    /// workspace's tests builds it.
    fn show() -> Self {
        let test = std::env::current_exe().unwrap();
        let built = test.ancestors().nth(2).expect("a test lies in target/debug/deps").join("opentsm");
        assert!(built.is_file(), "{} is not built: run `cargo build -p opentsm` first", built.display());
        let mut program = Command::new(built)
            .args(["se", "--listen", "127.0.0.1:0", "--transit-card"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(program.stdout.take().unwrap()).lines();
        Self { program, said }
    }

    /// Where the next of its slots listens.
    fn address(&mut self) -> String {
        let line = self.said.next().expect("the program says where it listens").unwrap();
        line.split_once("listening on ").expect("the line names an address").1.to_owned()
    }
}

impl Drop for TransitCard {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// What transit readers ask in the clear: directory, purse, files, all records, the balance; with
/// the exact Le, Le 00 and none, on both interfaces.
///
/// req: B-6.3.a
#[test]
fn a_stranger_reads_the_transit_card() {
    let mut card = TransitCard::show();
    let addresses = [card.address(), card.address()];
    stranger(&addresses, &[], &["transit"]);
}
