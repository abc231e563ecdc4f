//! `opentsm bench`: figures of this machine, each beside the cost of what it is made of, in the same
//! process. Ratios travel between machines; absolute figures do not.

mod over_tls;

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tsm_globalplatform::primitives::{Aes, AesCmac, AesKey, DesKey, TripleDes};
use tsm_globalplatform::{SecurityLevel, scp02, scp03};
use tsm_iso7816::CommandApdu;
use tsm_se::card::SystemRandomness;
use tsm_se::profile::{DEVELOPMENT_KEY, DEVELOPMENT_SCP02_VERSION, DEVELOPMENT_SCP03_VERSION, ISSUER_DOMAIN};
use tsm_se::{Interface, Profile, SecureElement};

/// Options of `opentsm bench`.
#[derive(Debug, Args)]
pub struct Options {
    /// How long each figure is measured, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 500)]
    each_ms: u64,

    /// A PostgreSQL for the roles' books in the figures over TLS, postgres://user@host/name, instead of
    /// files in a temporary folder.
    #[arg(long, value_name = "URL")]
    database: Option<String>,

    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    /// What was done.
    what: &'static str,
    /// How often in a second, on one core.
    per_second: f64,
    /// How often the reference alone goes in a second, where there is one.
    reference_per_second: Option<f64>,
    /// What the reference is.
    reference: &'static str,
}

/// Measures and prints everything.
pub fn run(options: &Options) -> Result<(), String> {
    let each = Duration::from_millis(options.each_ms);
    // First, before other figures leave freed memory behind that the cards would be given.
    print_memory(options)?;
    for level in [SecurityLevel::C_MAC, SecurityLevel::C_DECRYPTION_C_MAC] {
        print(options, &scp02_wraps(level, each)?);
        print(options, &scp03_wraps(level, each)?);
    }
    print(options, &card_commands(each)?);
    print(options, &balance_reads(each)?);
    let in_process = sample_cards(each)?;
    let opened_in_process = in_process.per_second;
    print(options, &in_process);
    let rates = over_tls::measure(options.database.as_deref())?;
    print(
        options,
        &Figure {
            what: "cards opened over TLS, every role on this machine",
            per_second: rates.openings,
            reference_per_second: Some(opened_in_process),
            reference: "the same in process, on one core",
        },
    );
    print(
        options,
        &Figure {
            what: "top-ups over TLS, paid, credited and proven",
            per_second: rates.top_ups,
            reference_per_second: Some(rates.bare_syncs),
            reference: "bare synced writes to the same disk",
        },
    );
    print_count(options, "syncs of the disk for a top-up, all roles", rates.syncs_of_a_top_up);
    Ok(())
}

fn print(options: &Options, figure: &Figure) {
    if options.json {
        say!("{}", serde_json::to_string(figure).expect("a figure can always be written"));
        return;
    }
    let share = figure.reference_per_second.map_or_else(String::new, |reference| {
        format!("{:>6.0} % of {} ({reference:.0}/s)", 100.0 * figure.per_second / reference, figure.reference)
    });
    say!("{:<46} {:>12.0} /s  {share}", figure.what, figure.per_second);
}

fn print_count(options: &Options, what: &str, count: f64) {
    if options.json {
        say!("{}", serde_json::json!({ "what": what, "count": count }));
    } else {
        say!("{what:<46} {count:>12.2}");
    }
}

/// Runs `work` for about as long as `each`, and returns how often a second it ran.
fn rate(each: Duration, mut work: impl FnMut()) -> f64 {
    work();
    let started = Instant::now();
    let mut count = 0_u64;
    let mut batch = 1_u64;
    while started.elapsed() < each {
        (0..batch).for_each(|_| work());
        count += batch;
        batch = (batch * 2).min(4_096);
    }
    count as f64 / started.elapsed().as_secs_f64()
}

/// The rates of `work` and of `reference`, measured in turns so that both see the same machine: the
/// medians of several turns each.
fn rates(each: Duration, mut work: impl FnMut(), mut reference: impl FnMut()) -> (f64, f64) {
    const TURNS: u32 = 7;
    let mut of_work = Vec::new();
    let mut of_reference = Vec::new();
    for _ in 0..TURNS {
        of_work.push(rate(each / TURNS, &mut work));
        of_reference.push(rate(each / TURNS, &mut reference));
    }
    (median(of_work), median(of_reference))
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// The most data whose wrapped command has 255 bytes.
const fn full_size(level: SecurityLevel, block: usize) -> usize {
    if level.has_c_decryption() { (255 - 8) / block * block - 1 } else { 255 - 8 }
}

fn load_block(length: usize) -> CommandApdu {
    CommandApdu::new(0x80, 0xE8, 0x00, 0x00).with_data(vec![0xA5; length])
}

fn scp02_wraps(level: SecurityLevel, each: Duration) -> Result<Figure, String> {
    let mut element = new_element()?;
    let key = || DesKey::new(DEVELOPMENT_KEY);
    let keys = scp02::StaticKeys { enc: key(), mac: key(), dek: key() };
    let (handshake, initialize) =
        scp02::host::Handshake::begin(keys, scp02::Implementation::I55, DEVELOPMENT_SCP02_VERSION, [7; 8]);
    let answer = exchange(&mut element, &initialize)?;
    let (mut session, _) = handshake
        .with_application(ISSUER_DOMAIN)
        .finish(&answer, level)
        .map_err(|error| error.to_string())?;
    let command = load_block(full_size(level, 8));
    let wrap = || _ = black_box(session.wrap(black_box(&command)));
    let cipher = TripleDes::new(&DesKey::new([1; 16]));
    let mut data = vec![0xA5; (command.data.len() + 5).next_multiple_of(8)];
    let (per_second, reference) = rates(each, wrap, || {
        let icv = cipher.encrypt_single(&[1; 8]);
        black_box(cipher.retail_mac(&icv, &[black_box(&data[..command.data.len() + 5])]));
        if level.has_c_decryption() {
            let padded = (command.data.len() + 1).next_multiple_of(8);
            cipher.encrypt_cbc(&[0; 8], black_box(&mut data[..padded]));
        }
    });
    let what = if level.has_c_decryption() {
        "SCP02 level 03, full-size commands wrapped"
    } else {
        "SCP02 level 01, full-size commands wrapped"
    };
    Ok(Figure {
        what,
        per_second,
        reference_per_second: Some(reference),
        reference: "the 3DES primitives alone",
    })
}

fn scp03_wraps(level: SecurityLevel, each: Duration) -> Result<Figure, String> {
    let mut element = new_element()?;
    let key = || AesKey::from(DEVELOPMENT_KEY);
    let keys = scp03::StaticKeys { enc: key(), mac: key(), dek: key() };
    let (handshake, initialize) =
        scp03::host::Handshake::begin(keys, scp03::Implementation::I70, DEVELOPMENT_SCP03_VERSION, &[7; 8])
            .map_err(|error| error.to_string())?;
    let answer = exchange(&mut element, &initialize)?;
    let (mut session, _) = handshake
        .with_application(ISSUER_DOMAIN)
        .finish(&answer, level)
        .map_err(|error| error.to_string())?;
    let command = load_block(full_size(level, 16));
    let wrap = || _ = black_box(session.wrap(black_box(&command)));
    let key = AesKey::from([1; 16]);
    let (aes, mut cmac) = (Aes::new(&key), AesCmac::new(&key));
    let encrypted = if level.has_c_decryption() { command.data.len() + 1 } else { command.data.len() };
    let mut data = vec![0xA5; 16 + 5 + encrypted];
    let (per_second, reference) = rates(each, wrap, || {
        if level.has_c_decryption() {
            let icv = aes.encrypt_block(black_box(&[1; 16]));
            aes.encrypt_cbc(&icv, black_box(&mut data[21..]));
        }
        black_box(cmac.mac(&[black_box(&data)]));
    });
    let what = if level.has_c_decryption() {
        "SCP03 level 03, full-size commands wrapped"
    } else {
        "SCP03 level 01, full-size commands wrapped"
    };
    Ok(Figure {
        what,
        per_second,
        reference_per_second: Some(reference),
        reference: "the AES primitives alone",
    })
}

fn card_commands(each: Duration) -> Result<Figure, String> {
    let mut element = new_element()?;
    let select = CommandApdu::new(0, 0xA4, 4, 0).with_data(ISSUER_DOMAIN.as_bytes()).with_any_response();
    exchange(&mut element, &select)?;
    let select = select.to_bytes().map_err(|error| error.to_string())?;
    let per_second = rate(each, || _ = black_box(element.transmit(Interface::Contact, black_box(&select))));
    Ok(Figure {
        what: "SELECT of the ISD, on the software SE",
        per_second,
        reference_per_second: None,
        reference: "",
    })
}

fn balance_reads(each: Duration) -> Result<Figure, String> {
    let mut element = new_element()?;
    crate::sample_card::issue(&mut element)?;
    let select = tsm_epurse::select::select(&tsm_epurse::select::PURSE_AID);
    exchange(&mut element, &select)?;
    let balance = CommandApdu::new(0x80, 0x5C, 0x00, 0x02).with_ne(4);
    exchange(&mut element, &balance)?;
    let balance = balance.to_bytes().map_err(|error| error.to_string())?;
    let per_second = rate(each, || _ = black_box(element.transmit(Interface::Contact, black_box(&balance))));
    Ok(Figure {
        what: "GET BALANCE, on the software SE",
        per_second,
        reference_per_second: None,
        reference: "",
    })
}

fn sample_cards(each: Duration) -> Result<Figure, String> {
    let mut failed = None;
    let per_second = rate(each, || {
        let issued = new_element().and_then(|mut element| crate::sample_card::issue(&mut element));
        failed = failed.take().or(issued.err());
    });
    match failed {
        Some(why) => Err(why),
        None => Ok(Figure {
            what: "cards opened in process (load, install, personalise)",
            per_second,
            reference_per_second: None,
            reference: "",
        }),
    }
}

/// How much memory a thousand idle cards take, load files shared.
fn print_memory(options: &Options) -> Result<(), String> {
    const CARDS: u64 = 1_000;
    let mut profile = Profile::development(&[0; 8]);
    let mut elements = Vec::with_capacity(CARDS as usize);
    let before = resident_bytes();
    for number in 0..CARDS {
        profile.se_id = number.to_be_bytes().to_vec();
        let mut element =
            SecureElement::create(&profile, Box::new(SystemRandomness)).map_err(|error| error.to_string())?;
        crate::sample_card::issue(&mut element)?;
        elements.push(element);
    }
    let Some((before, after)) = before.zip(resident_bytes()) else {
        say!("memory an idle SE: this system does not tell a process's memory");
        return Ok(());
    };
    let each = after.saturating_sub(before) / CARDS;
    if options.json {
        say!("{}", serde_json::json!({ "what": "memory an idle SE with a transit card", "bytes": each }));
    } else {
        say!(
            "{:<46} {each:>12} bytes, of {CARDS} cards in this process",
            "memory an idle SE with a transit card"
        );
    }
    Ok(())
}

/// The resident memory of this process, where the system tells (proc(5), statm).
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}

fn new_element() -> Result<SecureElement, String> {
    SecureElement::create(&Profile::development(&[7; 8]), Box::new(SystemRandomness))
        .map_err(|error| error.to_string())
}

fn exchange(element: &mut SecureElement, command: &CommandApdu) -> Result<Vec<u8>, String> {
    match element.exchange(Interface::Contact, command) {
        Some(response) if response.status.is_success() => Ok(response.data),
        Some(response) => {
            Err(format!("the card answered {} ({})", response.status, response.status.meaning()))
        }
        None => Err("the card has no power".to_owned()),
    }
}
