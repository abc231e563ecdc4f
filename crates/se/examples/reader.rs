//! Shows a development card as a PC/SC reader with two slots, or to tools that speak vpcd's frames.
//!
//! ```text
//! cargo run -p tsm-se --example reader                    dials vpcd on 127.0.0.1:35963 and :35964
//! cargo run -p tsm-se --example reader -- listen 4000     listens on 127.0.0.1:4000 and :4001
//! ```
//!
//! Without memory of its own the card is new each time; it ends with its standard input.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tsm_se::card::SystemRandomness;
use tsm_se::readers::{Arrangement, SharedCard, Slot, VPCD_CONTACT_PORT, VPCD_CONTACTLESS_PORT};
use tsm_se::{Interface, Profile, SecureElement};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let [contact, contactless] = match words.as_slice() {
        [] => [VPCD_CONTACT_PORT, VPCD_CONTACTLESS_PORT].map(|port| Arrangement::Dial(local(port))),
        [listen, port] if listen == "listen" => {
            let port: u16 = port.parse()?;
            [port, port.saturating_add(1)].map(|port| Arrangement::Listen(local(port)))
        }
        _ => return Err("usage: reader [listen PORT]".into()),
    };
    let profile = Profile::development(&[0x86, 0, 0, 0, 0, 0, 0, 0, 0, 0x01]);
    let card = SecureElement::create(&profile, Box::new(SystemRandomness))?;
    let card: SharedCard = Arc::new(Mutex::new(card));
    let _contact = Slot::start(Arc::clone(&card), Interface::Contact, contact)?;
    let _contactless = Slot::start(card, Interface::Contactless, contactless)?;
    println!("the card is in its reader; close standard input to end");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
