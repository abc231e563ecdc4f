//! The terminals' sentences in both languages.

use jiff::Timestamp;
use tsm_domain::money::fare::{FareBook, FaresAt};
use tsm_terminal::{CardKeys, Refusal, TapError, Terminal, TerminalStore};

use super::money;
use crate::commands::wallet::Spoken;
use crate::errors::chain;

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

/// Why a terminal did not serve a card, and what can be done.
pub fn refused(language: Spoken, error: &TapError) -> String {
    match error {
        TapError::Refused(why) => {
            let (chinese, next, next_chinese) = of_refusal(why);
            language.choose(format!("{why}; {next}"), format!("{chinese}，{next_chinese}"))
        }
        TapError::Exchange(_) => language.choose(
            format!("{}; nothing was taken: hold the card to the terminal again", chain(error)),
            format!("无法与卡片通信，未扣款，请重新刷卡（{}）", chain(error)),
        ),
        TapError::Torn(_) => language.choose(
            chain(error),
            format!("卡片在扣款时离开，请在本终端重新刷卡，不会重复扣款（{}）", chain(error)),
        ),
        TapError::Psam { .. } => language.choose(
            format!("{}; use another terminal and tell the operator", chain(error)),
            format!("终端 PSAM 故障，请使用其他终端并通知运营方（{}）", chain(error)),
        ),
        TapError::Store(_) => language.choose(
            format!("{}; start the terminal again before it serves anybody", chain(error)),
            format!("终端无法保存记录，请重新启动后再使用（{}）", chain(error)),
        ),
    }
}

/// The refusal in Chinese, and the next step in both languages.
fn of_refusal(why: &Refusal) -> (String, &'static str, &'static str) {
    let top_up = ("top it up and come again", "请充值后再试");
    let hall = ("go to a service hall", "请前往服务网点办理");
    let other = ("use another card", "请使用其他卡片");
    let operator = ("use another terminal and tell the operator", "请使用其他终端并通知运营方");
    let (chinese, (next, next_chinese)) = match why {
        Refusal::NoApplication => ("卡内没有交通钱包".into(), other),
        Refusal::Blocked => {
            let unlock = ("unlock it in the wallet or at a service hall", "请在钱包中解锁或前往服务网点办理");
            ("卡片已锁定".into(), unlock)
        }
        Refusal::NotEnabled => ("钱包尚未启用".into(), hall),
        Refusal::OutOfValidity => ("卡片今日不在有效期内".into(), hall),
        Refusal::BlackListedAndLocked => ("卡片在黑名单中，已被锁定".into(), hall),
        Refusal::BlackListed => ("卡片在黑名单中".into(), hall),
        Refusal::GreyListed => ("卡片正在核查，暂不能使用".into(), hall),
        Refusal::ListTooOld => ("终端的名单已过期".into(), operator),
        Refusal::Insufficient { amount_fen } => (format!("余额不足 {} 元", money(*amount_fen)), top_up),
        Refusal::WornOut => ("卡片的交易次数已用尽".into(), hall),
        Refusal::Algorithm { algorithm } => (format!("终端不支持卡片的算法 {algorithm:02X}"), other),
        Refusal::NotGenuine(wrong) => (format!("卡片密钥不正确（{wrong:?}）"), hall),
        Refusal::StillInside { station } => {
            let leave = ("leave through a gate first", "请先出站");
            (format!("卡片尚未出站，进站车站 {station}"), leave)
        }
        Refusal::NotInside => {
            ("卡片没有进站记录".into(), ("ask the staff at the gate", "请联系站内工作人员"))
        }
        Refusal::RecordLocked => ("卡片的行程记录已锁定".into(), hall),
        Refusal::UnknownStation { station } => (format!("票价表中没有车站 {station}"), operator),
        Refusal::FaresOutOfDate { due } => (format!("应启用第 {due} 版票价表，但本机无有效版本"), operator),
        Refusal::StoreFull => {
            let upload =
                ("deliver them with `opentsm terminal upload`", "请先执行 `opentsm terminal upload`");
            ("终端须先上送已有记录".into(), upload)
        }
    };
    (chinese, next, next_chinese)
}

pub fn torn_write(language: Spoken, bytes: u64) -> String {
    language.choose(
        format!("The terminal lost its power while it wrote; {bytes} unfinished bytes were left out."),
        format!("终端写入时断电，已略去未完成的 {bytes} 字节。"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a rider reads at a terminal is a sentence with a next step, in the language that was asked for.
    #[test]
    fn a_refusal_says_what_to_do_in_both_languages() {
        let blocked = TapError::Refused(Refusal::Blocked);
        assert_eq!(
            refused(Spoken::En, &blocked),
            "the purse is blocked; unlock it in the wallet or at a service hall"
        );
        assert_eq!(refused(Spoken::Zh, &blocked), "卡片已锁定，请在钱包中解锁或前往服务网点办理");
        let little = TapError::Refused(Refusal::Insufficient { amount_fen: 99_999 });
        assert_eq!(refused(Spoken::Zh, &little), "余额不足 999.99 元，请充值后再试");
    }
}
