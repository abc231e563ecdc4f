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

/// Two clerks of the card issuer publish a fare table at the centre, each with the own password; the gates fetch it
/// when they deliver, and charge by it. A batch that another key signed is refused, and delivered when it is signed
/// right.
#[test]
fn fares_are_published_by_two_and_fetched_by_gates() {
    let folder = Folder::new("fares");
    let _city = Up::start(&folder);
    let phone = Phone::switch_on(&folder, "4");
    phone.done(&["register", "--accept", "--number", "8613900000004"]);
    phone.done(&["open", CARD]);
    terminal(&folder, "4", &["top-up", "5000"]);
    let ride = || {
        terminal(&folder, "4", &["gate", "1", "enter"]);
        let left = terminal(&folder, "4", &["gate", "2", "leave"]);
        (left["fare_fen"].as_u64().unwrap(), left["fare_version"].as_u64().unwrap())
    };
    assert_eq!(ride(), (400, 1), "the table that the gates were installed with: they have fetched none");

    let centre = |clerk: &str, matter: &[&str]| {
        opentsm(&[&["centre", "--city", folder.text(), "--clerk", clerk, "--json"], matter].concat())
    };
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let table = folder.file("fares.json");
    std::fs::write(&table, r#"{"version":2,"rule":{"flat":250}}"#).unwrap();
    // A tap knows whole seconds.
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap().to_string();
    let proposal = ["propose-fares", &table, "--from", &now];
    let wrong = folder.file("wrong-password");
    std::fs::write(&wrong, "a guess at it").unwrap();
    let guessed = centre("clerk-1", &[&["--password-file", wrong.as_str()][..], &["fares"]].concat());
    assert!(!guessed.status.success() && said(&guessed).contains("password"), "{guessed:?}");
    assert!(!centre("root", &proposal).status.success(), "an administrator proposes nothing");
    let proposed = last_line(&centre("clerk-1", &proposal));
    assert_eq!((&proposed["version"], &proposed["proposed_by"]), (&2.into(), &"clerk-1".into()));
    let alone = centre("clerk-1", &["publish-fares", "2"]);
    assert!(!alone.status.success() && said(&alone).contains("may not approve"), "{alone:?}");
    assert_eq!(last_line(&centre("clerk-2", &["publish-fares", "2"]))["decided_by"], "clerk-2");
    let people = last_line(&centre("root", &["clerks"]));
    assert_eq!(people["clerks"].as_array().unwrap().len(), 4);

    // The keys of two terminals are exchanged: what they sign is not what the centre knows.
    let upload = || opentsm(&["terminal", "--city", folder.text(), "--json", "upload"]);
    let secrets = folder.file("terminals.json");
    let right = std::fs::read_to_string(&secrets).unwrap();
    let mut changed: Value = serde_json::from_str(&right).unwrap();
    changed["signing"].as_array_mut().unwrap().swap(0, 1);
    std::fs::write(&secrets, changed.to_string()).unwrap();
    let forged = upload();
    assert!(!forged.status.success() && said(&forged).contains("signature"), "{forged:?}");
    std::fs::write(&secrets, right).unwrap();
    let delivered = upload();
    assert_eq!(last_line(&delivered)["delivered"], 2, "{delivered:?}");

    let gates = last_line(&opentsm(&["terminal", "--city", folder.text(), "--json", "fares"]));
    for gate in gates["gates"].as_array().unwrap() {
        assert_eq!((&gate["in_use"], &gate["versions"][0]["held"]), (&2.into(), &true.into()), "{gate}");
    }
    let words = opentsm(&["terminal", "--city", folder.text(), "--language", "zh", "fares"]);
    assert!(String::from_utf8_lossy(&words.stdout).contains("闸机 1 使用第 2 版票价表"), "{words:?}");
    assert_eq!(ride(), (250, 2));
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
