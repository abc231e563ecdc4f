//! A city that is kept, used by hand and killed: `opentsm up`, `se --city`, `wallet --phone`.

use serde_json::Value;

use crate::running::{Folder, Running, Up, assert_money_adds_up, last_line, opentsm};

pub const CARD: &str = "Harbour Transit Card";
const GREETING: &str = "Greeting Card";

/// A phone of the city, its secure element running.
pub struct Phone {
    pub home: String,
    _element: Running,
}

impl Phone {
    pub fn switch_on(city: &Folder, number: &str) -> Self {
        let mut element = Running::start(&["se", "--city", city.text(), "--number", number, "--json"]);
        let addresses: Value = serde_json::from_str(&element.line()).unwrap();
        assert_ne!(addresses["contact"], addresses["contactless"]);
        Self { home: city.file(&format!("phone-{number}")), _element: element }
    }

    /// Runs an operation and returns the wallet's reply, done or not.
    pub fn ask(&self, operation: &[&str]) -> Value {
        let arguments = [&["wallet", "--phone", &self.home, "--json"], operation].concat();
        let output = opentsm(&arguments);
        let reply = last_line(&output);
        assert_eq!(reply["ok"], output.status.success(), "{reply}");
        reply
    }

    /// Runs an operation that is done, and returns what came of it.
    pub fn done(&self, operation: &[&str]) -> Value {
        let reply = self.ask(operation);
        assert_eq!(reply["ending"], "done", "{operation:?}: {reply}");
        reply["detail"].clone()
    }

    /// What the catalogue says of an application on this phone.
    fn entry(&self, name: &str) -> Value {
        let detail = self.done(&["list"]);
        let entries = detail["entries"].as_array().unwrap();
        entries.iter().find(|entry| entry["name"] == name).unwrap().clone()
    }

    fn record(&self) -> Option<Value> {
        let text = std::fs::read(format!("{}/wallet.json", self.home)).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    fn write_record(&self, record: &Value) {
        std::fs::write(format!("{}/wallet.json", self.home), record.to_string()).unwrap();
    }
}

/// Registration comes first, and only after the protocol was accepted; then SE-ID and TOKEN let the
/// wallet in, and nothing else does.
///
/// req: W-6.1.a, W-6.1.b, W-6.1.e, W-6.2.a
#[test]
fn a_phone_registers_and_logs_in() {
    let folder = Folder::new("register");
    let _city = Up::start(&folder);
    let phone = Phone::switch_on(&folder, "4");
    for operation in [&["login"][..], &["list"], &["open", CARD], &["delete", CARD]] {
        assert_eq!(phone.ask(operation)["ending"], "failed");
    }
    phone.done(&["register"]);
    assert_eq!(phone.record(), None, "nothing is kept before the protocol is accepted");
    phone.done(&["register", "--accept", "--number", "8613900000004"]);
    let record = phone.record().unwrap();
    assert_eq!(record["registration"]["se_id"], "0999000100000004");
    phone.done(&["login"]);
    let mut forged = record.clone();
    forged["registration"]["token"] = "00".repeat(16).into();
    phone.write_record(&forged);
    assert_ne!(phone.ask(&["login"])["ending"], "done");
    phone.write_record(&record);
    phone.done(&["login"]);
}

/// By hand: the list, an opening from an empty secure element, personalised data on the card, and a
/// deletion after which the application is offered again. The one with money on it stays.
///
/// req: W-6.4.3.a, W-6.4.3.b, B-8.4.2.a, B-8.4.2.d, B-8.5.2.a, B-8.5.3.a, B-8.5.3.b, B-8.5.3.c
#[test]
fn a_card_is_opened_used_and_kept() {
    let folder = Folder::new("by-hand");
    let _city = Up::start(&folder);
    let phone = Phone::switch_on(&folder, "4");
    phone.done(&["register", "--accept", "--number", "8613900000004"]);
    for name in [CARD, GREETING] {
        let entry = phone.entry(name);
        assert_eq!(entry["condition"]["condition"], "not_installed", "{entry}");
        assert!(entry["ticket"].is_string());
        phone.done(&["open", name]);
        assert_eq!(phone.entry(name)["condition"]["condition"], "installed");
    }
    let view = phone.done(&["records", CARD]);
    assert_eq!((&view["balance_fen"], view["number_ending"].as_str().unwrap().len()), (&0.into(), 4));
    assert_eq!(phone.done(&["top-up", CARD, "3000"])["balance_fen"], 3_000);
    assert_eq!(phone.done(&["records", CARD])["transactions"], 1);
    phone.done(&["delete", GREETING]);
    assert_eq!(phone.entry(GREETING)["condition"]["condition"], "not_installed");
    assert_eq!(phone.ask(&["delete", CARD])["ending"], "refused");
    assert_eq!(phone.done(&["balance", CARD])["balance_fen"], 3_000);
    let chinese = phone.ask(&["--language", "zh", "delete", CARD]);
    assert!(chinese["error"].as_str().unwrap().contains("余额"), "{chinese}");
}

/// A card that waits at the clearing centre is returned from another phone of its rider, by its name.
///
/// req: B-7.5.1.b
#[test]
fn a_parked_card_is_returned_from_another_phone() {
    let folder = Folder::new("parked");
    let _city = Up::start(&folder);
    let (old, new) = (Phone::switch_on(&folder, "4"), Phone::switch_on(&folder, "5"));
    for phone in [&old, &new] {
        phone.done(&["register", "--accept", "--number", "8613900000004"]);
    }
    old.done(&["open", CARD]);
    old.done(&["top-up", CARD, "5000"]);
    assert_eq!(new.ask(&["return", CARD])["ending"], "failed", "it is in use on the other phone");
    old.done(&["migrate-out", CARD]);
    assert_eq!(new.done(&["parked"])["balance_fen"], 5000);
    assert_eq!(new.done(&["return", CARD])["balance_fen"], 5000);
    let read = || last_line(&opentsm(&["books", "--city", folder.text(), "--json"]));
    let books = (0..100).map(|_| read()).find(|books| books["refunded"] == 5000).unwrap();
    assert_money_adds_up(&books);
    assert_eq!((&books["parked"], &books["refund_payable"]), (&0.into(), &0.into()));
    // Whoever lost the answer asks again: it is the same, and nothing more is paid.
    assert_eq!(new.done(&["return", CARD])["balance_fen"], 5000);
    assert_eq!(read(), books);
}

/// The books, once they say that this much is paid in and in flight. What a rider did reaches the
/// centre through an outbox, so the first look may come too early.
fn books_with(folder: &Folder, paid_in: i64, in_flight: i64) -> Value {
    for _ in 0..200 {
        let output = opentsm(&["books", "--city", folder.text(), "--json"]);
        let books = last_line(&output);
        assert_money_adds_up(&books);
        if books["paid_in"] == paid_in && books["in_flight"] == in_flight {
            return books;
        }
    }
    panic!("the books never came to {paid_in} paid in and {in_flight} in flight");
}

/// A rider has paid when the whole city loses its power. It comes up from its stores: the payment is
/// known and in flight, the card is credited once however often the order is shown again, and another
/// loss of power changes nothing.
///
/// req: B-7.4.1.a
#[test]
fn a_killed_city_keeps_its_books() {
    let folder = Folder::new("killed");
    let city = Up::start(&folder);
    assert_money_adds_up(&city.ready["money"]);
    let (paid_in, purses, spent) = (city.fen("paid_in"), city.fen("purses"), city.fen("spent"));
    assert!(paid_in > 0 && spent > 0 && city.fen("in_flight") == 0);
    let phone = Phone::switch_on(&folder, "4");
    phone.done(&["register", "--accept", "--number", "8613900000004"]);
    phone.done(&["open", CARD]);
    assert_eq!(phone.ask(&["top-up", CARD])["ending"], "failed", "nothing is paid yet");
    phone.done(&["pay", CARD, "5000"]);
    assert_eq!(phone.done(&["balance", CARD])["balance_fen"], 0);
    let paid = phone.record().unwrap();
    assert!(paid["interrupted"]["order"].is_string(), "the wallet keeps the number of the order: {paid}");
    let address = city.ready["sp_tsm"].clone();
    city.kill();
    assert_ne!(phone.ask(&["top-up", CARD])["ending"], "done");

    let city = Up::start(&folder);
    assert_eq!(city.ready["sp_tsm"], address);
    books_with(&folder, paid_in + 5_000, 5_000);
    let topped_up = phone.done(&["top-up", CARD]);
    assert_eq!((&topped_up["credited"], &topped_up["balance_fen"]), (&true.into(), &5_000.into()));
    assert_eq!(phone.ask(&["top-up", CARD])["ending"], "failed", "it was paid once");
    phone.write_record(&paid);
    phone.ask(&["top-up", CARD]);
    assert_eq!(phone.done(&["balance", CARD])["balance_fen"], 5_000, "one order, one credit");
    let books = books_with(&folder, paid_in + 5_000, 0);
    assert_eq!((&books["purses"], &books["spent"]), (&(purses + 5_000).into(), &spent.into()));
    city.kill();

    let city = Up::start(&folder);
    assert_eq!(city.ready["money"], books);
    assert_eq!(phone.entry(CARD)["condition"]["condition"], "installed");
}

/// One folder is one city at a time, and one phone is switched on once.
#[test]
fn nothing_runs_twice() {
    let folder = Folder::new("twice");
    let _city = Up::start(&folder);
    let _phone = Phone::switch_on(&folder, "4");
    for arguments in [&["up", "--data", folder.text()][..], &["se", "--city", folder.text(), "--number", "4"]]
    {
        let output = opentsm(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("another"), "{said}");
    }
}
