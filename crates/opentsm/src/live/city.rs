//! The city's page: the money equation as a bar, phones and cards, gates, flows, the last transactions.

use maud::{Markup, html};
use tsm_api::clearing::Books;
use tsm_api::clearing::evidence::{CardLine, ProofWord, RecentTransaction};
use tsm_api::clearing::watch::{Census, WatchRecord};
use tsm_api::sp_tsm::evidence::FlowLine;
use tsm_services::clearing::CARDS_PER_STEP;
use tsm_services::explain::{self, Language, moment, yuan};

use super::data::{Cards, Seen, Wanted};
use super::frame::Place;
use super::traffic::GateSeen;
use super::words;

/// The bar's width in its own units.
const WIDTH: u64 = 1_000;

/// The changing part of the city's page.
pub fn content(seen: &Seen, cards: &Cards, wanted: &Wanted, language: Language) -> Markup {
    html! {
        h1.visually-hidden { (words::title(language)) }
        (alarms(&seen.watch, language))
        @if let Some(books) = &seen.books { (money(books, language)) }
        div.columns {
            div {
                (census(&seen.census, language))
                (phones(&seen.census, cards, wanted, language))
            }
            div {
                (differences(seen, language))
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

/// What somebody has to look at now: the equation broken, or a card's books.
fn alarms(watch: &WatchRecord, language: Language) -> Markup {
    html! {
        @if !watch.holds || !watch.alarms.is_empty() {
            section.alarms role="alert" aria-labelledby="alarms" {
                h2 #alarms { (language.choose("Alarm", "告警")) }
                @if !watch.holds {
                    p.breaks {
                        (language.choose("The money equation does not hold. Unaccounted for, in fen: ", "资金等式不成立，未说明金额（分）："))
                        (watch.gap_fen)
                    }
                }
                ul {
                    @for alarm in &watch.alarms {
                        li {
                            span.faint { (moment(alarm.at)) } " "
                            strong { (words::alarm(&alarm.kind, language)) } " "
                            @if let Some(card) = &alarm.card { (card) " " }
                            span.faint { (alarm.text) }
                        }
                    }
                }
            }
        }
    }
}

/// The whole city in a few numbers, however many cards it has.
fn census(census: &Census, language: Language) -> Markup {
    html! {
        section aria-labelledby="census" {
            h2 #census { (language.choose("All cards", "全部卡片")) " " span.count { (census.cards) } }
            @if census.counted_at.is_none() {
                p.none { (language.choose("They are being counted.", "正在统计。")) }
            } @else {
                // A smaller city is counted whenever somebody looks.
                @if let Some(at) = census.counted_at.filter(|_| census.cards >= CARDS_PER_STEP as u64) {
                    p.none { (language.choose("counted at ", "统计于 ")) (moment(at)) }
                }
                dl.terms {
                    @for count in census.states.iter().filter(|count| count.cards > 0) {
                        div {
                            dt { (words::state(count.state, language)) }
                            dd { (count.cards) @if count.purses_fen > 0 { " · " (yuan(count.purses_fen)) } }
                        }
                    }
                    @if census.frozen > 0 {
                        div { dt { (language.choose("of these frozen", "其中冻结")) } dd { (census.frozen) } }
                    }
                }
            }
        }
    }
}

/// What reconciliation found and nobody has settled.
fn differences(seen: &Seen, language: Language) -> Markup {
    let open: u64 = seen.watch.differences.iter().map(|cause| cause.open).sum();
    html! {
        section aria-labelledby="differences" {
            h2 #differences { (language.choose("Differences", "对账差异")) " " span.count { (open) } }
            @if seen.watch.differences.is_empty() {
                p.none { (language.choose("Statement, books and cards agree.", "对账单、账簿与卡片一致。")) }
            }
            ul.causes {
                @for cause in &seen.watch.differences {
                    li {
                        strong { (cause.open) } " "
                        (language.choose(cause.cause_en.as_str(), cause.cause_zh.as_str()))
                        @if cause.proposed > 0 {
                            " " span.mark { (cause.proposed) " " (language.choose("wait for a second person", "待第二人复核")) }
                        }
                        @if cause.waiting > 0 {
                            " " span.faint { "+" (cause.waiting) " " (language.choose("may still settle themselves", "可能自行消除")) }
                        }
                    }
                }
            }
            @if !seen.differences.is_empty() {
                details #newest {
                    summary { (language.choose("The oldest that are open", "最早未结的差异")) }
                    ul.last {
                        @for one in &seen.differences {
                            li {
                                span.faint { (one.day) }
                                strong { (language.choose(one.proposal_en.as_str(), one.proposal_zh.as_str())) }
                                span.faint { (one.text) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn finder(wanted: &Wanted, language: Language) -> Markup {
    html! {
        form.find action="/" method="get" role="search" {
            input type="hidden" name="lang" value=(language.choose("en", "zh"));
            label for="ending" { (language.choose("Number ends with", "卡号末位")) }
            input #ending name="ending" inputmode="numeric" pattern="[0-9]{4,19}" minlength="4" maxlength="19"
                autocomplete="off" value=[wanted.ending.as_deref()];
            button { (language.choose("Find", "查找")) }
            @if wanted.ending.is_some() {
                a href={ "/?lang=" (language.choose("en", "zh")) } { (language.choose("all cards", "全部卡片")) }
            }
        }
    }
}

fn pages(cards: &Cards, wanted: &Wanted, language: Language) -> Markup {
    let page = wanted.page.max(1);
    let link = |page: usize| Place::City(Wanted { page, ending: None }).address(language.choose("en", "zh"));
    html! {
        @if wanted.ending.is_none() && (page > 1 || cards.more) {
            nav.pages aria-label=(language.choose("Pages of cards", "卡片分页")) {
                @if page > 1 { a #previous rel="prev" href=(link(page - 1)) { (language.choose("previous", "上一页")) } }
                span { (language.choose("page ", "第 ")) (page) (language.choose("", " 页")) }
                @if cards.more { a #next rel="next" href=(link(page + 1)) { (language.choose("next", "下一页")) } }
            }
        }
    }
}

fn phones(census: &Census, cards: &Cards, wanted: &Wanted, language: Language) -> Markup {
    let heading = language.choose("Phones and their cards", "手机与卡片");
    html! {
        section aria-labelledby="phones" {
            h2 #phones { (heading) }
            @if census.cards > 20 || wanted.ending.is_some() || cards.more { (finder(wanted, language)) }
            @if cards.lines.is_empty() {
                p.none {
                    @if wanted.ending.is_some() { (language.choose("No card's number ends like this.", "没有以此结尾的卡号。")) }
                    @else { (language.choose("No card yet.", "还没有卡片。")) }
                }
            }
            @else {
                div.scroll tabindex="0" role="region" aria-labelledby="phones" {
                    table {
                        thead { tr {
                            th scope="col" { (language.choose("Card", "卡号")) }
                            th scope="col" { (language.choose("Secure element", "安全单元")) }
                            th scope="col" { (language.choose("State", "状态")) }
                            th.amount scope="col" { (language.choose("Purse", "余额")) }
                            th.amount scope="col" { (language.choose("On its way", "在途")) }
                            th.amount scope="col" { (language.choose("Kept or owed", "停放或待退")) }
                        } }
                        tbody { @for line in &cards.lines { (card_row(line, language)) } }
                    }
                }
            }
            (pages(cards, wanted, language))
        }
    }
}

fn card_row(line: &CardLine, language: Language) -> Markup {
    let amount = |fen| if fen > 0 { yuan(fen) } else { "—".to_owned() };
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
            td.amount { (amount(line.in_flight_fen)) }
            td.amount { (amount(line.kept_fen)) }
        }
    }
}

fn gates(gates: &[GateSeen], riders: u32, language: Language) -> Markup {
    html! {
        section aria-labelledby="gates" {
            h2 #gates { (language.choose("Gates", "闸机")) }
            ul.gates {
                @for gate in gates {
                    li {
                        strong { (language.choose(gate.english, gate.chinese)) } " "
                        span.faint { (gate.terminal) } br;
                        (gate.taps) " " (language.choose("taps", "次刷卡")) " · "
                        @match gate.fares {
                            0 => (language.choose("fares as installed", "出厂票价表")),
                            version => {
                                (language.choose("fares, version ", "票价表第 ")) (version) (language.choose("", " 版"))
                            }
                        }
                        " · "
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
