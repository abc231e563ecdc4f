//! A running city shows itself: the live page in two languages and in a real browser, a card explained, the
//! journal played again, receipts that check without the city.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::city::Phone;
use crate::running::{Folder, Running, Up, last_line, opentsm};

/// Asks the page; the whole answer.
pub fn ask(page: &str, path: &str, host: Option<&str>) -> String {
    let mut stream = connect(page, path, host);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn connect(page: &str, path: &str, host: Option<&str>) -> TcpStream {
    let address = page.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let host = host.unwrap_or(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    stream
}

/// The first event of a page's stream.
fn first_event(page: &str) -> String {
    let mut stream = connect(page, "/events?lang=zh", None);
    let (mut seen, mut part) = (String::new(), [0; 4_096]);
    while !seen.contains("\n\n") || !seen.contains("event: content") {
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "the stream ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    seen
}

fn check_page(page: &str) {
    let english = ask(page, "/?lang=en", None);
    // The gates fetched the fares that two clerks published, and have delivered what they signed.
    for part in [
        "200 OK",
        "default-src 'none'",
        "<html lang=\"en\">",
        "The money",
        "Every fen",
        "role=\"img\"",
        "fares, version 1",
        "0 not delivered yet",
    ] {
        assert!(english.contains(part), "{part}\n{english}");
    }
    let chinese = ask(page, "/?lang=zh", None);
    assert!(
        chinese.contains("<html lang=\"zh-CN\">") && chinese.contains("每一分入账资金都有去向"),
        "{chinese}"
    );
    for text in [&english, &chinese] {
        let body = text.split_once("\r\n\r\n").unwrap().1;
        assert!(
            !body.contains("http://") && !body.contains("https://"),
            "nothing comes from elsewhere: {body}"
        );
        assert!(!body.contains(" style=") && !body.contains("onclick"), "the policy would refuse it: {body}");
    }
    assert!(first_event(page).contains("资金"), "the stream brings the page's content");
    let card = english.split("href=\"").find_map(|link| link.strip_prefix("/cards/")).unwrap();
    let card = card.split('"').next().unwrap().replace("&amp;", "&");
    let explained = ask(page, &format!("/cards/{card}"), None);
    assert!(
        explained.contains("is in use on secure element") && explained.contains("Evidence"),
        "{explained}"
    );
    let unknown = ask(page, "/cards/00000000-0000-0000-0000-000000000000", None);
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
    let elsewhere = ask(page, "/", Some("city.example"));
    assert!(
        elsewhere.starts_with("HTTP/1.1 421"),
        "a name elsewhere that leads here reads nothing: {elsewhere}"
    );
}

/// The script runs under the policy, and the page is whole.
fn check_in_a_browser(page: &str, profile: &str) {
    let browser = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    let browser =
        browser.expect("Chromium shows the page here: apt-get install chromium, as `cargo xtask test` does");
    let options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--timeout=6000", "--dump-dom"];
    let profile = format!("--user-data-dir={profile}");
    let seen =
        Command::new(browser).args(options).args([&profile, &format!("{page}?lang=zh")]).output().unwrap();
    let seen = String::from_utf8_lossy(&seen.stdout);
    assert!(seen.contains("最近交易"), "{seen}");
    assert!(seen.contains("data-updates=\"on\""), "the script runs under the policy: {seen}");
}

fn check_receipts(city: &Folder, phone: &Phone) {
    let reply = phone.done(&["receipts", "Harbour Transit Card"]);
    let receipts = reply["receipts"].as_array().unwrap();
    let kinds: Vec<_> = receipts.iter().map(|signed| signed["receipt"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..2], ["opened", "topped_up"], "{kinds:?}");
    assert!(kinds.contains(&"spent"), "the ride is receipted once the gate has delivered it: {kinds:?}");
    let kept = city.file("receipts.json");
    std::fs::write(&kept, reply.to_string()).unwrap();
    let verify = |file: &str| opentsm(&["receipt", "verify", file, "--city", city.text()]);
    assert!(verify(&kept).status.success());
    let forged = city.file("forged.json");
    let text = reply.to_string().replace("\"amount_fen\":5000", "\"amount_fen\":50000");
    assert_ne!(text, reply.to_string());
    std::fs::write(&forged, text).unwrap();
    assert!(!verify(&forged).status.success(), "a changed receipt is not the centre's");
}

fn check_books_by_replay(city: &Folder) -> Value {
    let told = last_line(&opentsm(&["books", "--replay", "--json", "--city", city.text()]));
    assert_eq!(told["compared"]["findings"].as_array().map(Vec::len), Some(0), "{told}");
    assert_eq!(told["seal_fault"], Value::Null);
    told
}

#[test]
fn a_city_shows_itself() {
    let city = Folder::new("live");
    let up = Up::of(Running::start(&["up", "--data", city.text(), "--json", "--traffic", "1"]));
    let page = up.ready["page"].as_str().unwrap().to_owned();
    check_page(&page);
    check_in_a_browser(&page, &city.file("browser"));
    let phone = Phone::switch_on(&city, "1");
    check_receipts(&city, &phone);
    let ending = phone.done(&["balance", "Harbour Transit Card"])["number_ending"].clone();
    let ending = ending.as_str().unwrap().to_owned();
    let explain = |lang| opentsm(&["explain", "card", &ending, "--city", city.text(), "--lang", lang]);
    let said = |lang| String::from_utf8(explain(lang).stdout).unwrap();
    assert!(said("en").contains("is in use on secure element"), "{}", said("en"));
    assert!(said("zh").contains("每一分都有去向"), "{}", said("zh"));
    assert!(!opentsm(&["explain", "card", "0000000", "--city", city.text()]).status.success());
    check_books_by_replay(&city);
    up.kill();
    let told = check_books_by_replay(&city);
    assert!(
        told["compared"]["entries"].as_u64().unwrap() > 10,
        "a stopped centre's store is followed too: {told}"
    );
}
