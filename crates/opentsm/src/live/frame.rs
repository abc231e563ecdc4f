//! What every page has: head, language switch, the part that changes, foot.

use maud::{DOCTYPE, Markup, html};
use tsm_services::explain::Language;
use uuid::Uuid;

use super::data::Wanted;
use super::words;
use crate::city::CityError;

/// What a page is of.
pub enum Place {
    /// The city, with these cards.
    City(Wanted),
    /// A card.
    Card(Uuid),
}

impl Place {
    /// The place's address, in a language.
    pub fn address(&self, language: &str) -> String {
        match self {
            Self::City(wanted) => format!("/{}", query(language, wanted)),
            Self::Card(account) => format!("/cards/{account}?lang={language}"),
        }
    }

    fn events(&self, language: &str) -> String {
        match self {
            Self::City(wanted) => format!("/events{}", query(language, wanted)),
            Self::Card(account) => format!("/events?lang={language}&card={account}"),
        }
    }
}

fn query(language: &str, wanted: &Wanted) -> String {
    let page = if wanted.page > 1 { format!("&page={}", wanted.page) } else { String::new() };
    let ending = wanted.ending.as_ref().map(|ending| format!("&ending={ending}"));
    format!("?lang={language}{page}{}", ending.unwrap_or_default())
}

/// A whole page around its content.
pub fn page(language: Language, title: &str, place: &Place, content: &Markup) -> Markup {
    let code = language.choose("en", "zh-CN");
    let short = language.choose("en", "zh");
    let events = place.events(short);
    html! {
        (DOCTYPE)
        html lang=(code) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · OpenTSM" }
                link rel="stylesheet" href="/style.css";
                script src="/live.js" defer {}
            }
            body {
                a.skip href="#content" { (language.choose("Skip to the content", "跳到正文")) }
                header {
                    p.brand { a href={ "/?lang=" (short) } { "OpenTSM" } " " span { (words::title(language)) } }
                    p.status #status role="status" data-live=(language.choose("live", "实时")) data-lost=(language.choose("connection lost; load the page again", "连接中断，请刷新页面")) {}
                    nav aria-label=(language.choose("Language", "语言")) {
                        (choice(language, Language::English, place, "en", "English"))
                        (choice(language, Language::Chinese, place, "zh", "中文"))
                    }
                }
                main #content tabindex="-1" data-events=(events) { (content) }
                footer {
                    p { (language.choose(
                        "Read-only, on this machine only. What you see comes from the roles' own interfaces.",
                        "只读，仅限本机访问。所示内容均来自各角色自身的接口。",
                    )) }
                }
            }
        }
    }
}

fn choice(shown: Language, other: Language, place: &Place, code: &str, name: &str) -> Markup {
    html! {
        a href=(place.address(code)) lang=(if code == "zh" { "zh-CN" } else { "en" })
            aria-current=[(shown == other).then_some("true")] { (name) }
    }
}

/// The city did not answer.
pub fn trouble(language: Language, error: &CityError) -> Markup {
    html! {
        h1 { (language.choose("The city does not answer", "城市没有应答")) }
        p { (error) }
    }
}
