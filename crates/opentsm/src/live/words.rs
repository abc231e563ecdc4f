//! Words of the page in both languages.

use tsm_api::clearing::AccountState;
use tsm_services::explain::Language;

/// The page's name.
pub const fn title(language: Language) -> &'static str {
    match language {
        Language::English => "The city, live",
        Language::Chinese => "城市实况",
    }
}

/// How a card stands, in a word.
pub const fn state(state: AccountState, language: Language) -> &'static str {
    let (english, chinese) = match state {
        AccountState::Opening => ("being opened", "开通中"),
        AccountState::Live => ("in use", "正常"),
        AccountState::Closing => ("being closed", "注销中"),
        AccountState::Parked => ("parked", "已停放"),
        AccountState::RefundPayable => ("refund due", "待退款"),
        AccountState::Refunded => ("paid back", "已退款"),
    };
    match language {
        Language::English => english,
        Language::Chinese => chinese,
    }
}

/// A flow in words; one that has none yet keeps its own.
pub fn flow(operation: &str, language: Language) -> String {
    let (english, chinese) = match operation {
        "top-up" => ("topping up", "充值"),
        "open" | "opening" | "open card" => ("opening a card", "开卡"),
        "lock" => ("locking", "锁定"),
        "unlock" => ("unlocking", "解锁"),
        "synchronise" => ("comparing with the card", "同步"),
        "return" => ("returning a card", "退卡"),
        "migrate-out" | "migrate out" => ("moving a card out", "迁出"),
        "migrate-in" | "migrate in" => ("moving a card in", "迁入"),
        "personalise" | "re-personalise" | "repersonalise" => ("personalising", "个人化"),
        "statement-overdue" => {
            ("A payment statement has not come; no day is reconciled.", "支付对账单逾期未到，无法对账。")
        }
        other => return other.to_owned(),
    };
    language.choose(english, chinese).to_owned()
}

/// An alarm, in words.
pub fn alarm(kind: &str, language: Language) -> String {
    let (english, chinese) = match kind {
        "books-broken" => ("The books of a card do not hold; it is frozen.", "某卡账目不符，已冻结。"),
        "ledger-imbalance" => ("The books of all cards together do not balance.", "总账不平。"),
        "parked-inconsistent" => ("A parked card and its money do not fit.", "停放卡与其金额不符。"),
        "suspicious-card" => {
            ("A card was copied, put back or forged; it is frozen.", "卡片疑被复制、回退或伪造，已冻结。")
        }
        other => return other.to_owned(),
    };
    language.choose(english, chinese).to_owned()
}
