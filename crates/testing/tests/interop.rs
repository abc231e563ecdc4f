//! Independent tools and hosts drive the software secure element over PC/SC: OpenSC's tool,
//! `pcsc_scan`, `scriptor`, and the `scll` library (the `gp-host` program), none of which share
//! code with it. Every test runs in namespaces of its own; see [`tsm_testing::pcsc`].

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use tsm_capfile::{CapBuilder, Compression, Descriptor};
use tsm_iso7816::Aid;
use tsm_se::card::SystemRandomness;
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
