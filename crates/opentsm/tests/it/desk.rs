//! The card issuer's desk on the command line: `opentsm desk`.

use std::process::Output;

use serde_json::Value;

use crate::city::{CARD, Phone};
use crate::running::{Folder, Up, last_line, opentsm};

/// A command of a person at the desk.
fn desk(folder: &Folder, clerk: &str, matter: &[&str]) -> Output {
    opentsm(&[&["desk", "--city", folder.text(), "--clerk", clerk, "--json"], matter].concat())
}

fn done(folder: &Folder, clerk: &str, matter: &[&str]) -> Value {
    let output = desk(folder, clerk, matter);
    assert!(output.status.success(), "{matter:?}: {}", String::from_utf8_lossy(&output.stderr));
    last_line(&output)
}

fn refused(folder: &Folder, clerk: &str, matter: &[&str], why: &str) {
    let output = desk(folder, clerk, matter);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(why), "{matter:?}: {said}");
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A rider with cash on his card comes into a hall: his lock is lifted and his card is returned on the hall's own
/// reader; two people who are logged in pay the cash out, and nobody else does.
///
/// req: B-7.5.1.c
#[test]
fn a_hall_serves_a_rider_and_two_people_pay_cash_out() {
    let folder = Folder::new("desk");
    let _city = Up::start(&folder);
    let phone = Phone::switch_on(&folder, "4");
    phone.done(&["register", "--accept", "--number", "8613900000004"]);
    phone.done(&["open", CARD]);
    let cash = ["terminal", "--city", folder.text(), "--phone", "4", "--json", "top-up", "5000"];
    assert_eq!(last_line(&opentsm(&cash))["outcome"], "topped-up");
    let number = phone.done(&["records", CARD])["number_ending"].as_str().unwrap().to_owned();
    phone.done(&["lock", CARD]);

    let visit = |clerk: &str, work: &str| {
        let matter = ["serve", work, "--phone", &phone.home, &number, "--reason", "the rider is here"];
        desk(&folder, clerk, &matter)
    };
    assert!(!visit("service-1", "unlock").status.success(), "that takes a hall");
    let unlocked = visit("hall-1", "unlock");
    assert_eq!(last_line(&unlocked)["result"], "done", "{unlocked:?}");
    let returned = last_line(&visit("hall-1", "return"));
    assert_eq!((&returned["result"], &returned["detail"]["balance_fen"]), (&"done".into(), &5000.into()));

    // At the centre the issuer's people see that money is owed for it, and later that none is any more.
    let centre = |matter: &[&str]| {
        opentsm(&[&["centre", "--city", folder.text(), "--clerk", "clerk-1"], matter].concat())
    };
    let owed = said(&centre(&["refunds"]));
    assert!(owed.contains("¥50.00 kept or owed") && owed.contains("to be refunded"), "{owed}");
    assert!(said(&centre(&["card", &number])).contains("a refund is owed"));
    assert!(said(&centre(&["--language", "zh", "parked"])).contains("没有寄存的卡"));

    let payout = ["payout", &number, "--reason", "he shows his card"];
    refused(&folder, "nobody", &payout, "--password-file");
    refused(&folder, "root", &payout, "roles");
    let proposed = done(&folder, "hall-1", &payout);
    assert_eq!((&proposed["amount_fen"], &proposed["proposed_by"]), (&5000.into(), &"hall-1".into()));
    let approve = ["approve", proposed["payout"].as_str().unwrap()];
    refused(&folder, "hall-1", &approve, "proposed");
    let paid = done(&folder, "hall-2", &approve);
    assert_eq!((&paid["state"], &paid["decided_by"]), (&"booked".into(), &"hall-2".into()), "{paid}");

    assert!(said(&centre(&["refunds"])).contains("no rider is owed money"));
    let language = ["desk", "--city", folder.text(), "--clerk", "hall-1", "--language", "zh"];
    let words = said(&opentsm(&[&language[..], &["cases", &number]].concat()));
    assert!(words.contains("退现") && words.contains("准予解锁"), "{words}");
}

/// Who logs in for more than one command has a session in the city's folder, which nobody else can read; a wrong
/// password opens nothing; an added person chooses a password first; empty lists say so.
#[test]
fn people_of_the_desk_log_in_with_passwords() {
    let folder = Folder::new("desk-people");
    let _city = Up::start(&folder);
    let login = done(&folder, "hall-1", &["login"]);
    assert_eq!((&login["person"], &login["roles"][0]), (&"hall-1".into(), &"hall".into()));
    assert!(login.get("session").is_none(), "{login}");
    assert_eq!(done(&folder, "hall-1", &["whoami"])["institution"], "issuer-desk");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(folder.file("desk-sessions.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
    done(&folder, "hall-1", &["logout"]);
    refused(&folder, "hall-1", &["logout"], "not logged in");

    let wrong = folder.file("wrong");
    std::fs::write(&wrong, "a guess at it").unwrap();
    refused(&folder, "hall-1", &["--password-file", &wrong, "whoami"], "password");
    let added = done(&folder, "root", &["add-clerk", "hall-3", "--role", "hall"]);
    refused(&folder, "root", &["add-clerk", "wallet", "--role", "hall"], "name");
    refused(&folder, "root", &["approve-clerk", "hall-3"], "may not approve");
    assert_eq!(done(&folder, "root-2", &["approve-clerk", "hall-3"])["roles"][0], "hall");
    let (first, own) = (folder.file("first"), folder.file("own"));
    std::fs::write(&first, added["first_password"].as_str().unwrap()).unwrap();
    std::fs::write(&own, "a password of his own").unwrap();
    refused(&folder, "hall-3", &["--password-file", &first, "whoami"], "password");
    done(&folder, "hall-3", &["--password-file", &first, "password", &own]);
    assert_eq!(done(&folder, "hall-3", &["--password-file", &own, "whoami"])["person"], "hall-3");
    assert_eq!(done(&folder, "root", &["clerks"])["clerks"].as_array().unwrap().len(), 6);

    for (matter, english, chinese) in [
        ("differences", "no difference is open", "没有待处理的差异"),
        ("suspicious", "no card is frozen", "没有冻结的卡"),
        ("card-gaps", "no transaction of a card is missing", "没有缺失的卡片交易"),
        ("quarantine", "nothing was kept aside", "没有隔离的交易"),
        ("listings", "no change of the list waits", "没有待审批的名单变更"),
        ("payouts", "no payout waits", "没有待审批的付款"),
    ] {
        for (language, none) in [("en", english), ("zh", chinese)] {
            let centre = ["centre", "--city", folder.text(), "--clerk", "clerk-1", "--language", language];
            let output = opentsm(&[&centre[..], &[matter]].concat());
            assert_eq!(said(&output).trim(), none, "{output:?}");
        }
    }
}

/// A folder of an earlier version, whose SP-TSM knew nobody: who wants to log in is told what to do, and when the city
/// is started again people can.
#[test]
fn an_older_city_gets_its_people_when_it_is_started_again() {
    let folder = Folder::new("desk-older");
    Up::start(&folder).kill();
    let plan = folder.file("plan.json");
    let mut older: Value = serde_json::from_str(&std::fs::read_to_string(&plan).unwrap()).unwrap();
    assert!(older.as_object_mut().unwrap().remove("desk_clerks").is_some());
    std::fs::write(&plan, older.to_string()).unwrap();
    let store = rusqlite::Connection::open(folder.file("sp-tsm.sqlite")).unwrap();
    store.execute_batch("DROP TABLE clerks; DROP TABLE losses_followed; DROP TABLE top_up_payments; PRAGMA user_version = 3").unwrap();
    drop(store);
    refused(&folder, "hall-1", &["whoami"], "start it again");

    let _city = Up::start(&folder);
    assert_eq!(done(&folder, "hall-1", &["whoami"])["person"], "hall-1");
    assert_eq!(done(&folder, "root-2", &["clerks"])["clerks"].as_array().unwrap().len(), 5);
}
