//! A card explained in plain words, in English and Chinese: where it and its money are, and why, with the
//! evidence for each sentence. A pure function of the facts that centre and issuer give.

use tsm_api::clearing::AccountState;
use tsm_api::clearing::evidence::{
    CardFacts, ClosingWord, CounterGap, ListWord, LockFact, ProofWord, TransactionFact, TransactionWord,
};
use tsm_domain::money::reconciliation::Cause;

/// The language of the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// English.
    English,
    /// Chinese.
    Chinese,
}

/// How much a reader has to care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weight {
    /// It is as it should be.
    Plain,
    /// Something is on its way.
    Waiting,
    /// Somebody has to look at it.
    Alarm,
}

/// A sentence and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// The sentence.
    pub text: String,
    /// What it rests on.
    pub evidence: Vec<String>,
    /// How much it matters.
    pub weight: Weight,
}

impl Sentence {
    fn new(weight: Weight, text: String) -> Self {
        Self { text, evidence: Vec::new(), weight }
    }

    fn because(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(evidence);
        self
    }
}

impl Language {
    /// One of two texts.
    pub fn choose<T>(self, english: T, chinese: T) -> T {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }
}

/// An amount in yuan.
pub fn yuan(fen: u64) -> String {
    format!("¥{}.{:02}", fen / 100, fen % 100)
}

/// A moment as riders read it: Beijing time, to the second.
pub fn moment(at: jiff::Timestamp) -> String {
    let beijing = jiff::tz::TimeZone::fixed(jiff::tz::Offset::constant(8));
    beijing.to_datetime(at).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The card explained.
pub fn sentences(facts: &CardFacts, language: Language) -> Vec<Sentence> {
    let mut said = vec![place(facts, language), purse(facts, language)];
    said.extend(elsewhere(facts, language));
    said.extend(frozen(facts, language));
    said.extend(lists(facts, language));
    said.extend(last_transaction(facts, language));
    said.extend(gaps(facts, language));
    said.extend(incidents(facts, language));
    said.push(sum(facts, language));
    said.push(journal(facts, language));
    said
}

fn place(facts: &CardFacts, language: Language) -> Sentence {
    let (card, se) = (&facts.card, facts.se.as_deref().unwrap_or("?"));
    let (weight, english, chinese) = match facts.state {
        AccountState::Opening => (
            Weight::Waiting,
            format!("Card {card} is being written to secure element {se}; it cannot spend yet."),
            format!("卡 {card} 正在写入安全单元 {se}，尚不能消费。"),
        ),
        AccountState::Live if is_locked(facts) => (
            Weight::Waiting,
            format!("Card {card} on secure element {se} is locked: it keeps its money and cannot spend it."),
            format!("卡 {card} 在安全单元 {se} 上已锁定：余额保留，暂不能使用。"),
        ),
        AccountState::Live => (
            Weight::Plain,
            format!("Card {card} is in use on secure element {se}."),
            format!("卡 {card} 在安全单元 {se} 上正常使用。"),
        ),
        AccountState::Closing => {
            let (english, chinese) = match facts.closing {
                Some(ClosingWord::Migration) => ("to move to another phone", "迁移到另一部手机"),
                Some(ClosingWord::Return) | None => ("to be returned", "退卡"),
            };
            (
                Weight::Waiting,
                format!(
                    "Card {card} on secure element {se} was ordered to be blocked, {english}; the card has not proved yet that it is."
                ),
                format!("卡 {card} 在安全单元 {se} 上已下令锁定以便{chinese}；卡片尚未证明已锁定。"),
            )
        }
        AccountState::Parked => (
            Weight::Plain,
            format!(
                "Card {card} is on no phone. Its balance and data are kept at the clearing centre until a phone takes it in or its refund is ordered."
            ),
            format!("卡 {card} 不在任何手机上。余额和数据保存在清算中心，等待迁入另一部手机或办理退款。"),
        ),
        AccountState::RefundPayable => (
            Weight::Waiting,
            format!("Card {card} is closed; what it held is owed to the rider and not paid back yet."),
            format!("卡 {card} 已注销；余额应退还持卡人，尚未退款。"),
        ),
        AccountState::Refunded => (
            Weight::Plain,
            format!("Card {card} is closed and its money was paid back."),
            format!("卡 {card} 已注销，款项已退还。"),
        ),
    };
    let opened = moment(facts.opened_at);
    let account = language.choose(format!("account opened {opened}"), format!("账户开立于 {opened}"));
    let issuer = facts.issuer.as_ref().map(|issuer| {
        let word = match facts.lists.contains(&ListWord::Black) {
            true if issuer.state == "locked" => {
                language.choose("locked while on the black list", "在黑名单期间锁定")
            }
            _ => issuer_state(&issuer.state, language),
        };
        language.choose(format!("the issuer's record: {word}"), format!("发卡方记录：{word}"))
    });
    Sentence::new(weight, language.choose(english, chinese)).because([account].into_iter().chain(issuer))
}

/// Whether terminals or the issuer have seen that it is locked.
fn is_locked(facts: &CardFacts) -> bool {
    facts.locked.is_some() || facts.issuer.as_ref().is_some_and(|issuer| issuer.state == "locked")
}

fn issuer_state(word: &str, language: Language) -> &str {
    match word {
        "issuing" => language.choose("being issued", "发卡中"),
        "active" => language.choose("in use", "正常"),
        "locked" => language.choose("locked at the rider's wish", "持卡人已锁定"),
        "closing" => language.choose("being closed", "注销中"),
        "parked" => language.choose("parked", "已停放"),
        "closed" => language.choose("closed", "已注销"),
        other => other,
    }
}

fn purse(facts: &CardFacts, language: Language) -> Sentence {
    let holds = yuan(facts.money.purse_fen);
    let text = language.choose(
        format!("Its purse holds {holds}, as far as the card has proved it."),
        format!("按卡片已证明的记录，钱包余额为 {holds}。"),
    );
    let mut evidence: Vec<String> = Vec::new();
    if let Some(newest) = facts.transactions.iter().find(|found| found.balance_fen.is_some()) {
        evidence.push(transaction(newest, language));
    }
    if let Some(proven) = facts.issuer.as_ref().and_then(|issuer| issuer.proven) {
        let (balance, at) = (yuan(proven.balance_fen), moment(proven.at));
        let counter = proven.counter;
        evidence.push(language.choose(
            format!("the card proved {balance} to its issuer on {at} (online counter {counter}, MAC1)"),
            format!("卡片于 {at} 向发卡方证明余额 {balance}（联机计数器 {counter}，MAC1）"),
        ));
    }
    if evidence.is_empty() {
        evidence.push(language.choose("no transaction has come yet".into(), "尚无交易记录".into()));
    }
    Sentence::new(Weight::Plain, text).because(evidence)
}

fn elsewhere(facts: &CardFacts, language: Language) -> Vec<Sentence> {
    let mut said = Vec::new();
    if facts.money.in_flight_fen > 0 {
        let amount = yuan(facts.money.in_flight_fen);
        let text = language.choose(
            format!(
                "{amount} was paid and is on no card yet; the next contact with the card settles where it is."
            ),
            format!("{amount} 已支付但尚未写入卡片；下次与卡片通信时确定其去向。"),
        );
        let orders = facts.in_flight.iter().map(|order| {
            let (amount, at) = (yuan(order.amount_fen), moment(order.at));
            language.choose(
                format!("order {}: {amount}, confirmed {at}", order.order.0),
                format!("订单 {}：{amount}，{at} 确认", order.order.0),
            )
        });
        said.push(Sentence::new(Weight::Waiting, text).because(orders));
    }
    if facts.money.parked_fen > 0 {
        let amount = yuan(facts.money.parked_fen);
        let text = language.choose(
            format!("{amount} is kept at the clearing centre for it."),
            format!("清算中心为其保管 {amount}。"),
        );
        said.push(Sentence::new(Weight::Plain, text));
    }
    if facts.money.refund_payable_fen > 0 {
        let amount = yuan(facts.money.refund_payable_fen);
        let text = language.choose(
            format!("{amount} is owed to the rider and goes back the way it was paid."),
            format!("{amount} 应退还持卡人，将原路退回。"),
        );
        said.push(Sentence::new(Weight::Waiting, text));
    }
    if let Some(running) = facts.issuer.as_ref().and_then(|issuer| issuer.running.as_deref()) {
        let text = language.choose(
            format!("The issuer is working on the card now: {running}."),
            format!("发卡方正在处理该卡：{running}。"),
        );
        said.push(Sentence::new(Weight::Waiting, text));
    }
    said
}

fn frozen(facts: &CardFacts, language: Language) -> Vec<Sentence> {
    let centre = facts.frozen.as_ref().map(|reason| (reason, language.choose("the centre", "清算中心")));
    let issuer = facts.issuer.as_ref().and_then(|issuer| issuer.frozen.as_ref());
    let issuer = issuer.map(|reason| (reason, language.choose("its issuer", "发卡方")));
    let by_issuer = issuer.is_some();
    let say = |(reason, by): (&String, &str)| {
        let text = language.choose(
            format!("It is frozen for value by {by}: no load, no return, no migration until a person has examined it."),
            format!("{by}已冻结其资金业务：人工核查前不能充值、退卡或迁移。"),
        );
        Sentence::new(Weight::Alarm, text)
            .because([language.choose(format!("reason: {reason}"), format!("原因：{reason}"))])
    };
    let mut said: Vec<_> = centre.into_iter().chain(issuer).map(say).collect();
    if by_issuer && let Some(last) = said.pop() {
        let how = language.choose(
            "two people at the clearing centre release it, and its issuer follows within minutes",
            "由清算中心两人复核解冻，发卡方数分钟内随之解冻",
        );
        said.push(last.because([how.to_owned()]));
    }
    said
}

fn lists(facts: &CardFacts, language: Language) -> Vec<Sentence> {
    let say = |list: &ListWord| {
        let text = match (list, &facts.locked) {
            (ListWord::Black, None) if is_locked(facts) => language.choose(
                "It is on the black list and locked: only a service hall lets it be unlocked.".to_owned(),
                "已列入黑名单并已锁定：须到服务网点办理解锁。".to_owned(),
            ),
            (ListWord::Black, None) => language.choose(
                "It is on the black list: the next terminal that meets it locks it.".to_owned(),
                "已列入黑名单：遇到它的下一台终端将锁定该卡。".to_owned(),
            ),
            (ListWord::Black, Some(LockFact { terminal, at })) => {
                let at = moment(*at);
                language.choose(
                    format!(
                        "It is on the black list, and terminal {terminal} locked it on {at}: only a service hall \
                         lets it be unlocked."
                    ),
                    format!("已列入黑名单，并于 {at} 由终端 {terminal} 锁定：须到服务网点办理解锁。"),
                )
            }
            (ListWord::Grey, _) => language.choose(
                "It is on the grey list: terminals refuse it.".to_owned(),
                "已列入灰名单：终端拒绝受理。".to_owned(),
            ),
        };
        Sentence::new(Weight::Alarm, text)
    };
    facts.lists.iter().map(say).collect()
}

fn last_transaction(facts: &CardFacts, language: Language) -> Option<Sentence> {
    let newest = facts.transactions.first()?;
    let (what, at, terminal) = (deed(newest, language), moment(newest.at), &newest.terminal);
    let text = language.choose(
        format!("The last thing it did: {what} at terminal {terminal} on {at}."),
        format!("最近一笔：{at} 在终端 {terminal} {what}。"),
    );
    let others = facts.transactions.iter().map(|found| transaction(found, language));
    Some(Sentence::new(Weight::Plain, text).because(others))
}

/// A transaction in one line.
pub fn transaction(found: &TransactionFact, language: Language) -> String {
    let (what, at) = (deed(found, language), moment(found.at));
    let proof = match found.proof {
        ProofWord::Tac => language.choose("TAC verified", "TAC 已验证"),
        ProofWord::Counter => {
            language.choose("counter and balance proved by the card", "由卡片计数器和余额证明")
        }
    };
    let left = found.balance_fen.map(|fen| {
        let left = yuan(fen);
        language.choose(format!(", leaving {left}"), format!("，余额 {left}"))
    });
    let left = left.unwrap_or_default();
    language.choose(
        format!("{at}: {what}{left} (number {}, {proof})", found.counter),
        format!("{at}：{what}{left}（第 {} 笔，{proof}）", found.counter),
    )
}

/// What a card did, with the amount.
pub fn deed(found: &TransactionFact, language: Language) -> String {
    let what = match found.kind {
        TransactionWord::Load => language.choose("top-up of", "充值"),
        TransactionWord::Unload => language.choose("return of", "退卡扣款"),
        TransactionWord::Purchase => language.choose("purchase of", "消费"),
        TransactionWord::OverdraftUpdate => language.choose("overdraft limit of", "透支限额"),
        // The fare is taken on the way out.
        TransactionWord::Transit if found.amount_fen == 0 => {
            return language.choose("entry", "进站").to_owned();
        }
        TransactionWord::Transit => language.choose("ride for", "乘车"),
    };
    format!("{what} {}", yuan(found.amount_fen))
}

fn gaps(facts: &CardFacts, language: Language) -> Option<Sentence> {
    let numbers = |gap: &CounterGap| {
        let span = if gap.first == gap.last {
            gap.first.to_string()
        } else {
            format!("{}–{}", gap.first, gap.last)
        };
        if gap.online {
            language.choose(format!("loads number {span}"), format!("充值第 {span} 笔"))
        } else {
            language.choose(format!("purchases number {span}"), format!("消费第 {span} 笔"))
        }
    };
    if facts.gaps.is_empty() {
        return None;
    }
    let text = language.choose(
        "Transactions that the card made have not come yet: a terminal may still be offline.",
        "卡片的部分交易尚未上传：可能有终端仍处于离线状态。",
    );
    Some(Sentence::new(Weight::Waiting, text.to_owned()).because(facts.gaps.iter().map(numbers)))
}

fn incidents(facts: &CardFacts, language: Language) -> Option<Sentence> {
    if facts.incidents.is_empty() {
        return None;
    }
    let text = language.choose(
        "Reports about it contradict the records and were kept aside; they moved no money.",
        "有关它的报告与记录矛盾，已隔离，未影响资金。",
    );
    let each = facts.incidents.iter().map(|incident| {
        let cause = Cause::of_incident(&incident.kind).unwrap_or(Cause::OtherSuspicion);
        language.choose(
            format!("{}: {}", incident.kind, incident.text),
            format!("{}（{}：{}）", cause.zh(), incident.kind, incident.text),
        )
    });
    Some(Sentence::new(Weight::Alarm, text.to_owned()).because(each))
}

fn sum(facts: &CardFacts, language: Language) -> Sentence {
    let money = &facts.money;
    let terms = [
        (money.purse_fen, language.choose("in the purse", "钱包")),
        (money.in_flight_fen, language.choose("on its way", "在途")),
        (money.parked_fen, language.choose("kept at the centre", "停放")),
        (money.refund_payable_fen, language.choose("owed", "待退")),
        (money.spent_fen, language.choose("spent", "已消费")),
        (money.refunded_fen, language.choose("paid back", "已退款")),
        (money.written_off_fen, language.choose("written off", "已核销")),
    ];
    let found: u64 = terms.iter().map(|(fen, _)| fen).sum();
    let paid = yuan(money.paid_in_fen);
    let terms = terms.iter().filter(|(fen, _)| *fen > 0).map(|(fen, name)| format!("{} {name}", yuan(*fen)));
    let terms = [vec![language.choose(format!("{paid} paid in"), format!("共存入 {paid}"))], terms.collect()]
        .concat();
    if found == money.paid_in_fen {
        let text = language.choose(
            format!("Every fen of the {paid} that was paid in is accounted for."),
            format!("存入的 {paid} 每一分都有去向。"),
        );
        return Sentence::new(Weight::Plain, text).because(terms);
    }
    let found = yuan(found);
    let text = language.choose(
        format!(
            "{paid} was paid in and {found} is in these places; the rest are fees, deposits or corrections."
        ),
        format!("共存入 {paid}，以下各处合计 {found}；其余为费用、押金或更正。"),
    );
    Sentence::new(Weight::Waiting, text).because(terms)
}

fn journal(facts: &CardFacts, language: Language) -> Sentence {
    let journal = &facts.journal;
    let hash: String = journal.hash.to_string().chars().take(16).collect();
    let (entries, event) = (journal.entries, &journal.event);
    let last = language.choose(
        format!("entry {entries} ({event}), hash {hash}…"),
        format!("第 {entries} 条（{event}），哈希 {hash}…"),
    );
    let sealed = match &journal.sealed {
        Some(fact) => language.choose(
            format!("sealed up to entry {} by seal {}", fact.entry, fact.seal),
            format!("第 {} 条以前已由第 {} 号封存", fact.entry, fact.seal),
        ),
        None => language.choose("not sealed yet".into(), "尚未封存".into()),
    };
    if journal.holds {
        let text = language.choose(
            format!(
                "Its journal of {entries} entries is whole, and played again it gives exactly these books."
            ),
            format!("其流水共 {entries} 条，链条完整，重放后与账目完全一致。"),
        );
        return Sentence::new(Weight::Plain, text).because([last, sealed]);
    }
    let text = language.choose(
        "Its journal and the books do NOT agree; this must be examined.",
        "其流水与账目不一致，必须核查。",
    );
    Sentence::new(Weight::Alarm, text.to_owned())
        .because(journal.findings.iter().cloned().chain([last, sealed]))
}

#[cfg(test)]
mod tests;
