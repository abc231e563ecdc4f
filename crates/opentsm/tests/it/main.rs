//! The program as a person or a script starts it.

mod city;
mod demo;
mod desk;
mod killed;
mod lines;
mod live;
mod online;
mod postgres;
mod running;
mod serve;
mod terminal;

use serde_json::Value;

/// What is missing on this machine is told to scripts, too.
#[test]
fn doctor_tells_scripts() {
    let output = running::opentsm(&["doctor", "--json"]);
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    for name in ["randomness", "loopback", "temporary folder"] {
        let check = checks.iter().find(|check| check["what"] == name).unwrap();
        assert_eq!(check["verdict"], "good", "{check}");
    }
    assert!(checks.iter().all(|check| !check["detail"].as_str().unwrap().is_empty()));
    assert!(output.status.success());
}
