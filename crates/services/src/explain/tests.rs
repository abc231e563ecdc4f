//! What is said of cards in every state, in both languages.

use tsm_api::HexBytes;
use tsm_api::clearing::evidence::{
    CardMoney, IncidentFact, IssuerFacts, JournalFact, OrderFact, ProvenFact, SealFact,
};
use tsm_api::ids::{AccountId, OrderId};
use uuid::Uuid;

use super::*;

fn facts() -> CardFacts {
    CardFacts {
        account: AccountId(Uuid::nil()),
        card: "3104***********0001".into(),
        state: AccountState::Live,
        closing: None,
        se: Some("0999…0001".into()),
        opened_at: jiff::Timestamp::UNIX_EPOCH,
        frozen: None,
        lists: Vec::new(),
        locked: None,
        money: CardMoney { paid_in_fen: 5_000, purse_fen: 4_700, spent_fen: 300, ..CardMoney::default() },
        transactions: vec![TransactionFact {
            kind: TransactionWord::Transit,
            amount_fen: 300,
            balance_fen: Some(4_700),
            counter: 2,
            terminal: "099900000042".into(),
            at: jiff::Timestamp::UNIX_EPOCH,
            proof: ProofWord::Tac,
        }],
        gaps: Vec::new(),
        in_flight: Vec::new(),
        incidents: Vec::new(),
        journal: JournalFact {
            entries: 4,
            hash: HexBytes(vec![0xAB; 32]),
            event: "purchase-recorded".into(),
            holds: true,
            findings: Vec::new(),
            sealed: Some(SealFact { seal: 2, entry: 3 }),
        },
        issuer: None,
    }
}

/// The whole text, with its evidence indented.
fn text(facts: &CardFacts, language: Language) -> String {
    let lines = sentences(facts, language).into_iter().flat_map(|sentence| {
        let evidence = sentence.evidence.into_iter().map(|line| format!("  {line}"));
        [sentence.text].into_iter().chain(evidence).collect::<Vec<_>>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_live_card_is_told_whole() {
    let expected = "\
Card 3104***********0001 is in use on secure element 0999…0001.
  account opened 1970-01-01 08:00:00
Its purse holds ¥47.00, as far as the card has proved it.
  1970-01-01 08:00:00: ride for ¥3.00, leaving ¥47.00 (number 2, TAC verified)
The last thing it did: ride for ¥3.00 at terminal 099900000042 on 1970-01-01 08:00:00.
  1970-01-01 08:00:00: ride for ¥3.00, leaving ¥47.00 (number 2, TAC verified)
Every fen of the ¥50.00 that was paid in is accounted for.
  ¥50.00 paid in
  ¥47.00 in the purse
  ¥3.00 spent
Its journal of 4 entries is whole, and played again it gives exactly these books.
  entry 4 (purchase-recorded), hash ABABABABABABABAB…
  sealed up to entry 3 by seal 2";
    assert_eq!(text(&facts(), Language::English), expected);
    let chinese = text(&facts(), Language::Chinese);
    for part in [
        "在安全单元 0999…0001 上正常使用",
        "钱包余额为 ¥47.00",
        "TAC 已验证",
        "每一分都有去向",
        "第 2 号封存",
    ] {
        assert!(chinese.contains(part), "{part}\n{chinese}");
    }
}

/// Each fact that differs from a card in good order is said, in both languages, with its weight.
#[test]
fn each_fact_is_said() {
    type Case = (fn(&mut CardFacts), Weight, &'static str, &'static str);
    let cases: [Case; 17] = [
        (|facts| facts.transactions[0].amount_fen = 0, Weight::Plain, "did: entry at terminal", "进站"),
        (|facts| facts.state = AccountState::Opening, Weight::Waiting, "cannot spend yet", "尚不能消费"),
        (
            |facts| (facts.state, facts.closing) = (AccountState::Closing, Some(ClosingWord::Migration)),
            Weight::Waiting,
            "to move to another phone",
            "迁移到另一部手机",
        ),
        (
            |facts| (facts.state, facts.closing) = (AccountState::Closing, Some(ClosingWord::Return)),
            Weight::Waiting,
            "to be returned",
            "退卡",
        ),
        (|facts| facts.state = AccountState::Parked, Weight::Plain, "is on no phone", "不在任何手机上"),
        (|facts| facts.state = AccountState::RefundPayable, Weight::Waiting, "not paid back yet", "尚未退款"),
        (|facts| facts.state = AccountState::Refunded, Weight::Plain, "was paid back", "款项已退还"),
        (
            |facts| facts.frozen = Some("counter 7 after 9".into()),
            Weight::Alarm,
            "counter 7 after 9",
            "已冻结",
        ),
        (|facts| facts.lists = vec![ListWord::Black], Weight::Alarm, "the next terminal", "黑名单"),
        (
            |facts| {
                let at = jiff::Timestamp::UNIX_EPOCH;
                facts.lists = vec![ListWord::Black];
                facts.locked = Some(LockFact { terminal: "099900000061".into(), at });
            },
            Weight::Alarm,
            "terminal 099900000061 locked it on 1970-01-01",
            "由终端 099900000061 锁定",
        ),
        (|facts| facts.lists = vec![ListWord::Grey], Weight::Alarm, "grey list", "灰名单"),
        (
            |facts| {
                facts.gaps = vec![
                    CounterGap { online: false, first: 1, last: 1 },
                    CounterGap { online: true, first: 3, last: 5 },
                ]
            },
            Weight::Waiting,
            "loads number 3–5",
            "消费第 1 笔",
        ),
        (
            |facts| {
                facts.money.in_flight_fen = 100;
                facts.money.paid_in_fen += 100;
                let order = OrderId(Uuid::nil());
                facts.in_flight = vec![OrderFact { order, amount_fen: 100, at: jiff::Timestamp::UNIX_EPOCH }];
            },
            Weight::Waiting,
            "¥1.00, confirmed",
            "已支付但尚未写入卡片",
        ),
        (
            |facts| facts.money.parked_fen = 50,
            Weight::Plain,
            "is kept at the clearing centre for it",
            "保管 ¥0.50",
        ),
        (|facts| facts.money.refund_payable_fen = 50, Weight::Waiting, "is owed to the rider", "原路退回"),
        (
            |facts| {
                let incident = IncidentFact {
                    kind: "wrong-tac".into(),
                    text: "a wrong TAC".into(),
                    at: jiff::Timestamp::UNIX_EPOCH,
                };
                facts.incidents = vec![incident];
            },
            Weight::Alarm,
            "wrong-tac: a wrong TAC",
            "已隔离",
        ),
        (
            |facts| {
                facts.journal.holds = false;
                facts.journal.findings = vec!["entry 3 was changed".into()];
            },
            Weight::Alarm,
            "entry 3 was changed",
            "必须核查",
        ),
    ];
    for (change, weight, english, chinese) in cases {
        let mut facts = facts();
        change(&mut facts);
        let (said, in_chinese) = (text(&facts, Language::English), text(&facts, Language::Chinese));
        assert!(said.contains(english), "{english}\n{said}");
        assert!(in_chinese.contains(chinese), "{chinese}\n{in_chinese}");
        let weights: Vec<_> = sentences(&facts, Language::English).iter().map(|said| said.weight).collect();
        assert!(weights.contains(&weight), "{english}: {weights:?}");
        let both = [Language::English, Language::Chinese].map(|language| sentences(&facts, language).len());
        assert_eq!(both[0], both[1], "both languages say the same");
    }
}

#[test]
fn the_issuer_adds_what_it_knows() {
    let proven = ProvenFact { balance_fen: 4_700, counter: 9, at: jiff::Timestamp::UNIX_EPOCH };
    let issuer = IssuerFacts {
        state: "locked".into(),
        proven: Some(proven),
        frozen: Some("suspicious".into()),
        open_orders: Vec::new(),
        running: Some("top-up".into()),
    };
    let said = text(&CardFacts { issuer: Some(issuer), ..facts() }, Language::English);
    for part in [
        "locked at the rider's wish",
        "is locked: it keeps its money",
        "online counter 9, MAC1",
        "frozen for value by its issuer",
        "two people at the clearing centre release it",
        "now: top-up",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

#[test]
fn a_listed_card_that_is_locked_is_not_called_in_use() {
    let issuer = |state: &str| IssuerFacts {
        state: state.into(),
        proven: None,
        frozen: None,
        open_orders: Vec::new(),
        running: None,
    };
    let listed = CardFacts { lists: vec![ListWord::Black], issuer: Some(issuer("active")), ..facts() };
    assert!(text(&listed, Language::English).contains("the next terminal that meets it locks it"));
    let locked = CardFacts { issuer: Some(issuer("locked")), ..listed };
    let said = text(&locked, Language::English);
    assert!(said.contains("locked while on the black list"), "{said}");
    for untrue in ["is in use", "at the rider's wish", "the next terminal"] {
        assert!(!said.contains(untrue), "{untrue}\n{said}");
    }
}
