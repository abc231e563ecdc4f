//! Terminals on the command line: `opentsm terminal`.

use serde_json::Value;

use crate::city::{CARD, Phone};
use crate::running::{Folder, Up, assert_money_adds_up, last_line, opentsm};

fn terminal(folder: &Folder, phone: &str, operation: &[&str]) -> Value {
    let arguments = [&["terminal", "--city", folder.text(), "--phone", phone, "--json"], operation].concat();
    let output = opentsm(&arguments);
    assert!(output.status.success(), "{operation:?}: {}", String::from_utf8_lossy(&output.stderr));
    last_line(&output)
}

/// Cash goes on a phone's card; it passes two gates and pays at a till, each a process of its own that goes on from
/// its store; what they recorded is delivered, and the books have all of it.
#[test]
fn a_day_at_the_terminals() {
    let folder = Folder::new("terminals");
    let _city = Up::start(&folder);
    let phone = Phone::switch_on(&folder, "4");
    phone.done(&["register", "--accept", "--number", "8613900000004"]);
    phone.done(&["open", CARD]);
    let before = last_line(&opentsm(&["books", "--city", folder.text(), "--json"]));

    let cash = terminal(&folder, "4", &["top-up", "5000"]);
    assert_eq!((&cash["outcome"], &cash["cash_kept_fen"]), (&"topped-up".into(), &5000.into()), "{cash}");
    let entered = terminal(&folder, "4", &["gate", "1", "enter"]);
    assert_eq!((&entered["entered"], &entered["balance_fen"]), (&true.into(), &5000.into()));
    let again = opentsm(&["terminal", "--city", folder.text(), "--phone", "4", "gate", "2", "enter"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("still inside"), "{again:?}");
    let left = terminal(&folder, "4", &["gate", "2", "leave"]);
    assert_eq!((&left["fare_fen"], &left["balance_fen"]), (&400.into(), &4600.into()));
    let paid = terminal(&folder, "4", &["pos", "200", "--composite"]);
    assert_eq!((&paid["balance_fen"], &paid["paid_before"]), (&4400.into(), &false.into()));
    let read = terminal(&folder, "4", &["read"]);
    assert_eq!((&read["balance_fen"], &read["transactions"]), (&4400.into(), &4.into()));

    let upload = &["terminal", "--city", folder.text(), "--json", "upload"];
    let said = last_line(&opentsm(upload));
    assert_eq!((&said["delivered"], &said["waiting"]), (&3.into(), &0.into()));
    assert_eq!(last_line(&opentsm(upload))["delivered"], 0, "each record once");
    // The centre takes the trips when the credit before them has reached it.
    let spent = before["spent"].as_i64().unwrap() + 600;
    let read = || last_line(&opentsm(&["books", "--city", folder.text(), "--json"]));
    let books = (0..100).map(|_| read()).find(|books| books["spent"] == spent).unwrap();
    assert_money_adds_up(&books);
    let grown = |term: &str| books[term].as_i64().unwrap() - before[term].as_i64().unwrap();
    assert_eq!((grown("cash_in"), grown("purses"), grown("spent"), grown("paid_in")), (5000, 4400, 600, 0));

    let words = opentsm(&["terminal", "--city", folder.text(), "--phone", "4", "--language", "zh", "read"]);
    assert!(String::from_utf8_lossy(&words.stdout).contains("余额 44.00 元"));
}

/// The table of times needs no city.
#[test]
fn the_times_of_taps_are_told_to_scripts() {
    let output = opentsm(&["terminal", "--json", "times"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let taps: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = taps.iter().map(|tap| tap["tap"].as_str().unwrap()).collect();
    assert_eq!(names, ["entry", "exit", "plain purchase", "composite purchase", "load"]);
    assert!(taps.iter().all(|tap| tap["air_424_us"].as_u64() < tap["air_106_us"].as_u64()));
}
