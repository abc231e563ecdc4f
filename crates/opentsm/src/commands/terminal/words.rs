//! The terminals' sentences in both languages.

use jiff::Timestamp;
use tsm_domain::money::fare::{FareBook, FaresAt};
use tsm_terminal::{CardKeys, Terminal, TerminalStore};

use super::money;
use crate::commands::wallet::Spoken;

pub fn entered(language: Spoken, balance: u32) -> String {
    let balance = money(balance);
    language.choose(
        format!("Please enter. The card holds {balance} yuan."),
        format!("请进站。卡内余额 {balance} 元。"),
    )
}

pub fn left(language: Spoken, fare: u32, balance: u32, why: Option<&str>) -> String {
    let (fare, balance) = (money(fare), money(balance));
    let why = why.map(|why| format!("\n  {why}")).unwrap_or_default();
    language.choose(
        format!("The trip costs {fare} yuan. The card holds {balance} yuan.{why}"),
        format!("本次票价 {fare} 元，卡内余额 {balance} 元。{why}"),
    )
}

pub fn paid(language: Spoken, amount: u32, balance: u32, before: bool) -> String {
    let (amount, balance) = (money(amount), money(balance));
    match (language.choose(true, false), before) {
        (true, false) => format!("Paid: {amount} yuan. The card holds {balance} yuan."),
        (true, true) => format!("Paid already: {amount} yuan. The card holds {balance} yuan."),
        (false, false) => format!("已支付 {amount} 元，卡内余额 {balance} 元。"),
        (false, true) => format!("此前已支付 {amount} 元，卡内余额 {balance} 元。"),
    }
}

pub fn read(language: Spoken, number: &str, balance: u32, transactions: usize) -> String {
    let balance = money(balance);
    language.choose(
        format!("Card {number} holds {balance} yuan; its log shows {transactions} transactions."),
        format!("卡号 {number}，余额 {balance} 元，交易记录 {transactions} 条。"),
    )
}

pub fn fares<K: CardKeys, S: TerminalStore>(
    language: Spoken,
    station: u16,
    terminal: &Terminal<K, S>,
    now: Timestamp,
) -> String {
    let none = FareBook::default();
    let book = terminal.fare_book().unwrap_or(&none);
    let mut text = match book.at(now) {
        FaresAt::Nothing => language.choose(
            format!("Gate {station} uses the fare table that it was installed with."),
            format!("闸机 {station} 使用出厂票价表。"),
        ),
        FaresAt::InForce(table) => {
            let version = table.version();
            language.choose(
                format!("Gate {station} uses version {version} of the fare table."),
                format!("闸机 {station} 使用第 {version} 版票价表。"),
            )
        }
        FaresAt::OutOfDate { due, .. } => language.choose(
            format!(
                "Gate {station} lets nobody in: version {due} of the fare table is due and not in force here."
            ),
            format!("闸机 {station} 暂停进站：应启用第 {due} 版票价表，但本机无有效版本。"),
        ),
    };
    for head in book.heads() {
        let (version, from) = (head.version, head.valid_from);
        let held = book.table(version).is_some();
        text.push_str(&match (language.choose(true, false), held) {
            (true, true) => format!("\n  version {version} from {from}"),
            (true, false) => format!("\n  version {version} from {from}, not here yet"),
            (false, true) => format!("\n  第 {version} 版，自 {from} 起"),
            (false, false) => format!("\n  第 {version} 版，自 {from} 起，尚未下载"),
        });
    }
    text
}

pub fn delivered(language: Spoken, delivered: usize, waiting: usize) -> String {
    language.choose(
        format!("{delivered} records were delivered; {waiting} wait."),
        format!("已上送 {delivered} 条记录，待上送 {waiting} 条。"),
    )
}

pub fn torn_write(language: Spoken, bytes: u64) -> String {
    language.choose(
        format!("The terminal lost its power while it wrote; {bytes} unfinished bytes were left out."),
        format!("终端写入时断电，已略去未完成的 {bytes} 字节。"),
    )
}
