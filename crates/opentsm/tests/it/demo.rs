//! The main job: `opentsm demo`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::running::{Folder, Running, assert_money_adds_up, last_line, opentsm};

fn tell(arguments: &[&str]) -> Value {
    let output = opentsm(arguments);
    let report = last_line(&output);
    assert!(output.status.success(), "{report}");
    assert_eq!(report["ok"], true, "{report}");
    report
}

/// What the report of each kind of demo must say.
fn check(report: &Value) {
    let steps = report["steps"].as_array().unwrap();
    let names: BTreeSet<_> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), steps.len(), "a step is named twice: {report}");
    let step =
        |name: &str| steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("{name}"));
    for (name, round_trips) in [("login", 1), ("open_card", 6), ("top_up", 3), ("delete", 3)] {
        assert_eq!(step(name)["round_trips"], round_trips, "{name}");
    }
    let on_card = [
        "open_card",
        "open_card_resumed",
        "top_up",
        "tap_in",
        "tap_out",
        "pay_online",
        "lock",
        "unlock",
        "delete",
        "return_card",
        "migrate_out",
        "migrate_in",
        "tap_in_new_phone",
    ];
    for name in on_card {
        assert!(step(name)["apdus"].as_u64().unwrap() > 0, "{name}");
    }
    for name in ["tap_in", "tap_out", "read_back"] {
        assert_eq!(step(name)["round_trips"], 0, "{name} asks no server");
    }
    // The cut opening stopped in the middle of its commands; the resumed one did not do them all again.
    assert!(step("open_card_cut")["apdus"].as_u64() < step("open_card")["apdus"].as_u64());
    assert!(step("open_card_resumed")["apdus"].as_u64() < step("open_card")["apdus"].as_u64());
    let money = &report["money"];
    assert_money_adds_up(money);
    assert_eq!((&money["paid_in"], &money["in_flight"]), (&10_000.into(), &0.into()));
    assert_eq!((&money["purses"], &money["spent"]), (&3_700.into(), &1_700.into()));
    assert_eq!((&money["refunded"], &money["parked"]), (&4_600.into(), &0.into()));
}

/// Every role, wallet and secure element do the main job: opening, consumption, recharge, return, migration and
/// query; and no fen is lost.
///
/// req: B-5.1.a, B-7.1.a
#[test]
fn the_demo_in_one_process() {
    check(&tell(&["demo", "--json"]));
}

/// The same roles apart, each a process: they talk by their interfaces only. The second phone's secure
/// element is killed in the middle of the download.
///
/// req: B-5.1.a, B-5.1.b, B-5.2.2.a
#[test]
fn the_demo_in_many_processes() {
    check(&tell(&["demo", "--processes", "--json"]));
}

/// Wherever the roles run, the card and the network are asked the same.
///
/// req: B-5.2.2.a
#[test]
fn both_demos_cost_the_same() {
    let costs = |report: Value| {
        let steps = report["steps"].as_array().unwrap().clone();
        let costs = steps.iter().map(|step| ["name", "apdus", "round_trips"].map(|key| step[key].clone()));
        costs.collect::<Vec<_>>()
    };
    assert_eq!(costs(tell(&["demo", "--json"])), costs(tell(&["demo", "--processes", "--json"])));
}

/// Whoever stops a demo or a city that comes up, at whatever step, leaves nothing of it behind.
#[cfg(unix)]
#[test]
fn nothing_is_left_of_what_was_stopped() {
    for (arguments, step) in [(&["demo"][..], "The first phone"), (&["demo", "--processes"], "serve")] {
        let temporary = Folder::new("stopped");
        let mut demo = Running::start_in(&temporary, arguments);
        let mut lines = std::iter::repeat_with(|| demo.line()).take_while(|line| !line.is_empty());
        assert!(lines.any(|line| line.contains(step)), "it ended before");
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1, "the demo has its folder");
        assert!(!demo.terminate().success());
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "{arguments:?}");
    }
}
