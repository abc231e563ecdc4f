//! A card's page: where it and its money are, and why.

use maud::{Markup, html};
use tsm_api::clearing::evidence::CardFacts;
use tsm_services::explain::{self, Language, Sentence, Weight};

/// The changing part of a card's page.
pub fn content(facts: &CardFacts, language: Language) -> Markup {
    let sentences = explain::sentences(facts, language);
    html! {
        p { a href={ "/?lang=" (language.choose("en", "zh")) } { (language.choose("← The city", "← 城市实况")) } }
        h1 { (language.choose("Card ", "卡 ")) span.number { (facts.card) } }
        ol.sentences {
            @for (number, said) in sentences.iter().enumerate() { (sentence(number, said, language)) }
        }
    }
}

fn sentence(number: usize, said: &Sentence, language: Language) -> Markup {
    let (class, mark) = match said.weight {
        Weight::Plain => ("plain", None),
        Weight::Waiting => ("waiting", Some(language.choose("under way", "进行中"))),
        Weight::Alarm => ("alarm", Some(language.choose("to be examined", "需核查"))),
    };
    html! {
        li class=(class) {
            p { @if let Some(mark) = mark { span.mark { (mark) } " " } (said.text) }
            @if !said.evidence.is_empty() {
                details id={ "evidence-" (number) } open[number < 2] {
                    summary id={ "summary-" (number) } { (language.choose("Evidence", "依据")) }
                    ul { @for line in &said.evidence { li { (line) } } }
                }
            }
        }
    }
}

/// No such card.
pub fn unknown(language: Language) -> Markup {
    html! {
        h1 { (language.choose("No such card", "没有这张卡")) }
        p { a href={ "/?lang=" (language.choose("en", "zh")) } { (language.choose("← The city", "← 城市实况")) } }
    }
}
