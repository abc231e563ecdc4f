//! The city's page: the money equation as a bar, phones and cards, gates, flows, the last transactions.

use maud::{Markup, html};
use tsm_api::clearing::Books;
use tsm_api::clearing::evidence::{CardLine, ProofWord, RecentTransaction};
use tsm_api::sp_tsm::evidence::FlowLine;
use tsm_services::explain::{self, Language, moment, yuan};

use super::data::Seen;
use super::traffic::GateSeen;
use super::words;

/// The bar's width in its own units.
const WIDTH: u64 = 1_000;

/// The changing part of the city's page.
pub fn content(seen: &Seen, language: Language) -> Markup {
    html! {
        h1.visually-hidden { (words::title(language)) }
        (money(&seen.books, language))
        div.columns {
            (phones(seen, language))
            div {
                (gates(&seen.gates, seen.riders, language))
                (flows(&seen.flows, language))
                (last(&seen.last, language))
            }
        }
    }
}

/// A term of the equation: its class, its name, its value.
type Term = (&'static str, &'static str, u64);

fn terms(books: &Books, language: Language) -> [Term; 6] {
    // What riders spent stays spent when operators are owed it and paid it.
    let spent = books.spent_fen + books.operator_payable_fen + books.operator_paid_fen + books.fees_fen;
    [
        ("purses", language.choose("in purses", "卡内余额"), books.purses_fen),
        ("in-flight", language.choose("on its way to a card", "在途"), books.in_flight_fen),
        ("parked", language.choose("kept for parked cards", "停放"), books.parked_fen),
        ("payable", language.choose("owed to riders", "待退款"), books.refund_payable_fen),
        ("spent", language.choose("spent, proven by TAC", "已消费（TAC 已验证）"), spent),
        ("refunded", language.choose("paid back", "已退款"), books.refunded_fen),
    ]
}

fn money(books: &Books, language: Language) -> Markup {
    let terms = terms(books, language);
    let found: u64 = terms.iter().map(|(_, _, fen)| fen).sum();
    let paid = books.paid_in_fen + books.cash_in_fen;
    let holds = found == paid;
    let verdict = if holds {
        language.choose("Every fen that came in is accounted for.", "每一分入账资金都有去向。")
    } else {
        language.choose(
            "Not all of it is in these places: deposits, write-offs, or a break to examine.",
            "另有部分资金：押金、核销，或需核查的差额。",
        )
    };
    html! {
        section.money aria-labelledby="money" {
            h2 #money { (language.choose("The money", "资金")) }
            p.total {
                strong { (yuan(paid)) } " " (language.choose("came in", "入账"))
                @if books.cash_in_fen > 0 {
                    " " (language.choose("(of it in cash ", "（其中现金 ")) (yuan(books.cash_in_fen)) (language.choose(")", "）"))
                }
                (language.choose(". ", "。")) span class=(if holds { "holds" } else { "breaks" }) { (if holds { "✓ " } else { "! " }) (verdict) }
            }
            (bar(&terms, paid, language))
            dl.terms {
                @for (class, name, fen) in terms {
                    div {
                        dt { span class={ "key " (class) } aria-hidden="true" {} (name) }
                        dd { (yuan(fen)) }
                    }
                }
            }
        }
    }
}

fn bar(terms: &[Term; 6], paid: u64, language: Language) -> Markup {
    let label = language.choose(
        "Where the money is, as one bar; the list below says the same",
        "资金分布条形图，内容与下方列表相同",
    );
    let whole = u128::from(paid.max(1));
    let width = |fen: u64| u64::try_from(u128::from(fen) * u128::from(WIDTH) / whole).unwrap_or(WIDTH);
    let mut from = 0;
    let mut parts = Vec::new();
    for (class, name, fen) in terms {
        let part = width(*fen).min(WIDTH - from);
        // What is there is seen, however little it is.
        let part = if *fen > 0 { part.max(4).min(WIDTH - from) } else { 0 };
        parts.push((*class, *name, *fen, from, part));
        from += part;
    }
    html! {
        svg.bar viewBox={ "0 0 " (WIDTH) " 44" } preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.ground x="0" y="0" width=(WIDTH) height="44" {}
            @for (class, name, fen, from, part) in parts {
                @if part > 0 {
                    rect class=(class) x=(from) y="0" width=(part) height="44" { title { (name) ": " (yuan(fen)) } }
                }
            }
        }
    }
}

fn phones(seen: &Seen, language: Language) -> Markup {
    let heading = language.choose("Phones and their cards", "手机与卡片");
    html! {
        section aria-labelledby="phones" {
            h2 #phones { (heading) " " span.count { (seen.cards.len()) @if seen.more { "+" } } }
            @if seen.cards.is_empty() { p.none { (language.choose("No card yet.", "还没有卡片。")) } }
            @else {
                div.scroll tabindex="0" role="region" aria-labelledby="phones" {
                    table {
                        thead { tr {
                            th scope="col" { (language.choose("Card", "卡号")) }
                            th scope="col" { (language.choose("Secure element", "安全单元")) }
                            th scope="col" { (language.choose("State", "状态")) }
                            th.amount scope="col" { (language.choose("Purse", "余额")) }
                            th.amount scope="col" { (language.choose("On its way", "在途")) }
                        } }
                        tbody { @for line in &seen.cards { (card_row(line, language)) } }
                    }
                }
                @if seen.more { p.none { (language.choose("There are more cards than are shown here.", "此处仅显示部分卡片。")) } }
            }
        }
    }
}

fn card_row(line: &CardLine, language: Language) -> Markup {
    let elsewhere = line.in_flight_fen + line.kept_fen;
    html! {
        tr {
            th scope="row" {
                a #{ "card-" (line.account.0) } href={ "/cards/" (line.account.0) "?lang=" (language.choose("en", "zh")) } { (line.masked) }
            }
            td { (line.se.as_deref().unwrap_or("—")) }
            td {
                (words::state(line.state, language))
                @if line.frozen { " " span.mark.alarm { (language.choose("frozen", "冻结")) } }
            }
            td.amount { (yuan(line.purse_fen)) }
            td.amount { @if elsewhere > 0 { (yuan(elsewhere)) } @else { "—" } }
        }
    }
}

fn gates(gates: &[GateSeen], riders: u32, language: Language) -> Markup {
    html! {
        section aria-labelledby="gates" {
            h2 #gates { (language.choose("Gates", "闸机")) }
            @if gates.is_empty() { p.none { (language.choose("The gates of this city are closed.", "本城市的闸机未开启。")) } }
            ul.gates {
                @for gate in gates {
                    li {
                        strong { (language.choose(gate.english, gate.chinese)) } " "
                        span.faint { (gate.terminal) } br;
                        (gate.taps) " " (language.choose("taps", "次刷卡")) " · "
                        (gate.waiting) " " (language.choose("not delivered yet", "笔待上传"))
                    }
                }
            }
            p.none {
                @if riders == 0 {
                    (language.choose("No simulated riders; start with --traffic 8 to see some.", "没有模拟乘客；可用 --traffic 8 启动。"))
                } @else {
                    (riders) " " (language.choose("simulated riders are in the city.", "位模拟乘客正在城市中。"))
                }
            }
        }
    }
}

fn flows(flows: &[FlowLine], language: Language) -> Markup {
    html! {
        section aria-labelledby="flows" {
            h2 #flows { (language.choose("Being done now", "正在进行")) " " span.count { (flows.len()) } }
            @if flows.is_empty() { p.none { (language.choose("Nothing at this moment.", "当前没有操作。")) } }
            ul.flows {
                @for flow in flows {
                    li {
                        strong { (words::flow(&flow.operation, language)) } " "
                        (language.choose("on", "于")) " " (flow.se) " "
                        span.faint { (moment(flow.started_at)) }
                    }
                }
            }
        }
    }
}

fn last(recent: &[RecentTransaction], language: Language) -> Markup {
    html! {
        section aria-labelledby="last" {
            h2 #last { (language.choose("Last transactions", "最近交易")) }
            @if recent.is_empty() { p.none { (language.choose("None yet.", "暂无。")) } }
            ul.last {
                @for found in recent { (transaction(found, language)) }
            }
        }
    }
}

fn transaction(found: &RecentTransaction, language: Language) -> Markup {
    let fact = &found.transaction;
    let proof = match fact.proof {
        ProofWord::Tac => language.choose("TAC ✓", "TAC ✓"),
        ProofWord::Counter => language.choose("by counter", "按计数器"),
    };
    let at = moment(fact.at);
    let time = at.split_once(' ').map_or(at.as_str(), |(_, time)| time);
    let ending = found.masked.rsplit('*').next().unwrap_or_default();
    html! {
        li {
            span.faint { (time) }
            strong { (explain::deed(fact, language)) }
            a #{ "last-" (found.account.0) "-" (fact.counter) "-" (fact.kind.is_online()) }
                href={ "/cards/" (found.account.0) "?lang=" (language.choose("en", "zh")) }
                aria-label={ (language.choose("card", "卡")) " " (found.masked) } { "…" (ending) }
            span.faint { (proof) }
        }
    }
}
