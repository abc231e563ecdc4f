//! One role alone: `opentsm serve`.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tsm_domain::environment::Entropy;
use tsm_keys::software::{Passphrase, PassphraseCost};
use tsm_keys::{KeyAlgorithm, KeySetReference, SoftwareKeyService};

use crate::running::{Folder, Running, Up, opentsm};

/// A city's folder, the city itself stopped.
fn stopped_city(name: &str) -> Folder {
    let folder = Folder::new(name);
    Up::start(&folder).kill();
    folder
}

fn refusal(arguments: &[&str]) -> String {
    let output = opentsm(arguments);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "a server that refuses does not serve");
    String::from_utf8(output.stderr).unwrap()
}

struct Counting;

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        (0..).zip(bytes).for_each(|(value, byte)| *byte = value);
    }
}

/// A key file with the keys that development cards come with.
fn development_keys(path: &Path, passphrase: &str) {
    let cost = PassphraseCost { memory_kib: 1_024, passes: 1, lanes: 1 };
    let passphrase = Passphrase::new(passphrase.to_owned());
    let keys = SoftwareKeyService::create(path, &passphrase, cost, Arc::new(Counting)).unwrap();
    let cards = KeySetReference::new("operator", "cards", 1).unwrap();
    keys.import_development_card_keys(&cards, KeyAlgorithm::Aes128).unwrap();
}

/// Nothing that is there for development only is reachable in production, and the refusal says what it
/// is; nothing else is named.
#[test]
fn production_refuses_what_is_for_tests_only() {
    let folder = stopped_city("production");
    let mut plan: Value = serde_json::from_slice(&std::fs::read(folder.file("plan.json")).unwrap()).unwrap();
    let serve = |role: &str, plan: &str| refusal(&["serve", role, "--plan", plan, "--profile", "production"]);
    let said = serve("clearing", &folder.file("plan.json"));
    assert!(said.contains("throw-away") && !said.contains("development keys"), "{said}");

    plan["profile"] = "production".into();
    let file = folder.path().join("development.keys");
    development_keys(&file, plan["passphrase"].as_str().unwrap());
    plan["se_tsm"]["keys"] = file.to_str().unwrap().into();
    let production = folder.file("production.json");
    std::fs::write(&production, plan.to_string()).unwrap();
    let said = serve("se-tsm", &production);
    assert!(said.contains("development keys") && !said.contains("throw-away"), "{said}");
    let said = serve("payment", &production);
    assert!(said.contains("sandbox") && !said.contains("throw-away"), "{said}");

    let arguments = ["serve", "clearing", "--plan", &production, "--profile", "production"];
    let mut clearing = Running::start(&arguments);
    assert!(clearing.line().starts_with("clearing serves on "), "with its own keys it starts");
}

/// A role starts alone, and stops when it is asked to, requests finished.
///
/// req: B-5.2.2.a
#[test]
fn each_role_starts_and_stops_alone() {
    let folder = stopped_city("alone");
    let plan = folder.file("plan.json");
    for role in ["se-tsm", "clearing", "payment", "sp-tsm"] {
        let mut server = Running::start(&["serve", role, "--plan", &plan, "--until-stdin-closes"]);
        let said = server.line();
        assert!(said.starts_with(&format!("{role} serves on 127.0.0.1:")));
        assert_eq!(said.contains("/metrics"), role == "clearing", "{said}");
        assert!(server.close_input().success());
        assert_eq!(server.line(), format!("{role} has stopped\n"));
    }
    #[cfg(unix)]
    {
        let mut server = Running::start(&["serve", "clearing", "--plan", &plan]);
        assert!(server.line().starts_with("clearing serves on "));
        assert!(server.terminate().success());
        assert_eq!(server.line(), "clearing has stopped\n");
    }
}
