//! A whole city killed at random points under load: nothing that was acknowledged is lost, and nothing is
//! credited twice. `cargo xtask kill` does it a hundred times on each store.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::postgres;
use crate::running::{Folder, Running, Up, assert_money_adds_up, last_line, opentsm};

/// How often, and after how many milliseconds at most.
const USUAL_TIMES: usize = 3;
const LONGEST_LIFE_MS: u64 = 1_500;
/// What each top-up of `opentsm load` is.
const TOP_UP_FEN: i64 = 100;

fn times() -> usize {
    std::env::var("OPENTSM_KILLS").ok().and_then(|times| times.parse().ok()).unwrap_or(USUAL_TIMES)
}

/// Riders who top up, move their cards and return them.
fn load(folder: &Folder, riders: &str) -> Running {
    Running::start(&["load", "--city", folder.text(), "--riders", riders, "--json", "--until-stdin-closes"])
}

/// Lives of differing length; the kill falls wherever the city happens to be.
fn lives() -> impl Iterator<Item = Duration> {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    println!("seed {seed}");
    let steps = std::iter::successors(Some(seed), |seed| {
        let seed = seed ^ (seed << 13);
        let seed = seed ^ (seed >> 7);
        Some(seed ^ (seed << 17))
    });
    steps.map(|step| Duration::from_millis(200 + step % (LONGEST_LIFE_MS - 200)))
}

#[expect(clippy::disallowed_methods, reason = "no event is waited for: the kill falls where it falls")]
fn let_it_live(life: Duration) {
    std::thread::sleep(life);
}

fn kill_again_and_again(name: &str, options: &[&str]) {
    let folder = Folder::new(name);
    let up = || {
        let arguments = [&["up", "--data", folder.text(), "--json"], options].concat();
        Up::of(Running::start(&arguments))
    };
    let mut city = up();
    let before = city.ready["money"].clone();
    let mut load = load(&folder, "4");
    for life in lives().take(times()) {
        let_it_live(life);
        city.kill();
        city = up();
        assert_money_adds_up(&city.ready["money"]);
    }
    let told = load.close_input_and_read();
    let told: Value = serde_json::from_str(&told).unwrap();
    println!("{name}: {} kills, {told}", times());
    assert_nothing_is_lost_or_doubled(&folder, &before, &told);
    drop(city);
}

/// What the riders were told of their cards is what the cards hold, and the centre's books have no more of it.
fn assert_nothing_is_lost_or_doubled(folder: &Folder, before: &Value, told: &Value) {
    assert_eq!((&told["lost_fen"], &told["twice_fen"]), (&0.into(), &0.into()), "{told}");
    let of_riders = |term: &str| told[term].as_i64().unwrap();
    assert!(of_riders("acknowledged") > 0, "{told}");
    let books = last_line(&opentsm(&["books", "--city", folder.text(), "--json"]));
    assert_money_adds_up(&books);
    // The centre is told through outboxes, later; it never has more than the riders.
    let fen = |term: &str| books[term].as_i64().unwrap() - before[term].as_i64().unwrap();
    assert!(fen("paid_in") <= of_riders("acknowledged") * TOP_UP_FEN, "{told} {books}");
    assert!(fen("refund_payable") + fen("refunded") <= of_riders("returned_fen"), "{told} {books}");
}

/// `kill -9` of the whole process, again and again, on the embedded stores.
#[test]
fn a_killed_city_loses_and_doubles_nothing() {
    kill_again_and_again("killed-files", &[]);
}

/// The same on PostgreSQL.
#[test]
fn a_killed_city_on_postgresql_loses_and_doubles_nothing() {
    let url = postgres::url();
    kill_again_and_again("killed-postgres", &["--database", &url]);
}

/// Two processes of each role on one database: riders go on while any of them is killed.
#[test]
fn several_processes_of_a_role_share_a_database() {
    let (folder, url) = (Folder::new("shared"), postgres::url());
    let city = Up::of(Running::start(&["up", "--data", folder.text(), "--json", "--database", &url]));
    let before = city.ready["money"].clone();
    city.kill();
    let plan = folder.file("plan.json");
    let serve = |role: &str| {
        let mut server = Running::start(&["serve", role, "--plan", &plan, "--until-stdin-closes"]);
        assert!(server.line().starts_with(&format!("{role} serves on 127.0.0.1:")));
        server
    };
    let roles = ["se-tsm", "clearing", "payment", "sp-tsm"];
    let mut first: Vec<_> = roles.map(serve).into_iter().collect();
    let second: Vec<_> = roles.map(serve).into_iter().collect();
    let mut load = load(&folder, "6");
    for (place, life) in lives().take(times().max(roles.len())).enumerate() {
        let_it_live(life);
        let place = place % roles.len();
        let killed = std::mem::replace(&mut first[place], serve(roles[place]));
        killed.kill();
    }
    let told: Value = serde_json::from_str(&load.close_input_and_read()).unwrap();
    println!("shared: {told}");
    assert_nothing_is_lost_or_doubled(&folder, &before, &told);
    drop((first, second));
}
