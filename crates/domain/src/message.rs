//! What users read, in English and Chinese. Refusals of the rules carry their own sentences for logs; these
//! are the ones that a wallet or a hall shows.

use crate::amount::Fen;

/// A language of the interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Chinese.
    Zh,
}

/// A message to a user.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Message {
    /// Registration succeeded.
    Registered,
    /// Login succeeded.
    LoggedIn,
    /// The SE is bound to another number that is in use.
    BoundElsewhere,
    /// The SE is reported lost.
    SeLost,
    /// The SE is of no known batch.
    SeUnknown,
    /// A stick-on card cannot be registered.
    StickOnCard,
    /// The TOKEN is wrong.
    WrongToken,
    /// No connection.
    NoConnection,
    /// Delete what the previous user left.
    DeleteLeftovers(Vec<String>),
    /// Go to a hall for these.
    VisitHall(Vec<String>),
    /// The application is not available.
    NotAvailable,
    /// Not enough space.
    NoSpace,
    /// The operation is under way.
    Working,
    /// Interrupted: continue or cancel.
    Interrupted,
    /// It was done.
    Done,
    /// The card refused.
    CardRefused,
    /// The card was opened.
    CardOpened,
    /// The card is still there: its balance is returned first.
    ReturnBalanceFirst(Fen),
    /// Topped up.
    ToppedUp(Fen),
    /// The last top-up is being looked up on the card.
    TopUpUnknown,
    /// The payment is not confirmed.
    PaymentNotConfirmed,
    /// The card is under examination.
    CardUnderExamination,
    /// Another operation is under way on the SE.
    Busy,
    /// Start over.
    Restart,
}

impl Message {
    /// The message in the given language.
    pub fn text(&self, language: Language) -> String {
        match language {
            Language::En => self.en(),
            Language::Zh => self.zh(),
        }
    }

    /// The message in English.
    pub fn en(&self) -> String {
        self.texts().0
    }

    /// The message in Chinese.
    pub fn zh(&self) -> String {
        self.texts().1
    }

    // One line per message, so that neither language is forgotten.
    fn texts(&self) -> (String, String) {
        let fixed = |en: &str, zh: &str| (en.to_owned(), zh.to_owned());
        match self {
            Self::Registered => fixed("Your phone is registered.", "手机已注册。"),
            Self::LoggedIn => fixed("You are logged in.", "登录成功。"),
            Self::BoundElsewhere => fixed(
                "This secure element is registered to another number. You can look, but not download or delete.",
                "此安全单元已绑定其他号码，只能查询，不能下载或删除。",
            ),
            Self::SeLost => fixed(
                "This secure element is reported lost. Its applications are locked; visit a service hall.",
                "此安全单元已挂失，应用已锁定，请到营业厅办理。",
            ),
            Self::SeUnknown => {
                fixed("This phone's secure element is not supported.", "不支持此手机的安全单元。")
            }
            Self::StickOnCard => fixed("A stick-on card cannot be registered.", "贴片卡不支持注册。"),
            Self::WrongToken => fixed(
                "Your phone could not be recognised. Please register again.",
                "无法识别您的手机，请重新注册。",
            ),
            Self::NoConnection => {
                fixed("There is no connection. Please try again.", "网络不可用，请稍后重试。")
            }
            Self::DeleteLeftovers(names) => (
                format!("Please delete what the previous user left: {}.", names.join(", ")),
                format!("请删除原用户遗留的应用：{}。", names.join("、")),
            ),
            Self::VisitHall(names) => (
                format!("These can only be deleted at a service hall: {}.", names.join(", ")),
                format!("以下应用需到营业厅删除：{}。", names.join("、")),
            ),
            Self::NotAvailable => fixed("This application is not available to you now.", "该应用暂不可用。"),
            Self::NoSpace => {
                fixed("There is not enough space. Delete something first.", "空间不足，请先删除其他应用。")
            }
            Self::Working => fixed("Please wait. Do not close the application.", "正在处理，请勿退出。"),
            Self::Interrupted => fixed(
                "The last operation was interrupted. Continue or cancel?",
                "上次操作中断，继续还是取消？",
            ),
            Self::Done => fixed("Done.", "操作成功。"),
            Self::CardRefused => {
                fixed("The secure element refused. Nothing was changed.", "安全单元拒绝操作，未作更改。")
            }
            Self::CardOpened => fixed("Your card is open.", "开卡成功。"),
            Self::ReturnBalanceFirst(balance) => (
                format!("The card still holds {balance} yuan. Return it for a refund first."),
                format!("卡内余额{balance}元，请先退卡。"),
            ),
            Self::ToppedUp(amount) => {
                (format!("{amount} yuan were added."), format!("充值成功，金额{amount}元。"))
            }
            Self::TopUpUnknown => fixed(
                "The result of the last top-up is being read from the card. Your money is safe.",
                "正在从卡片核实上次充值结果，资金安全。",
            ),
            Self::PaymentNotConfirmed => fixed("The payment is not confirmed yet.", "支付结果尚未确认。"),
            Self::CardUnderExamination => fixed(
                "The card is being examined. Please contact customer service.",
                "卡片核查中，请联系客服。",
            ),
            Self::Busy => {
                fixed("Another operation is under way. Please wait.", "有其他操作正在进行，请稍候。")
            }
            Self::Restart => {
                fixed("The connection was interrupted. Please start again.", "连接中断，请重新开始。")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_carry_the_data() {
        let message = Message::ReturnBalanceFirst(Fen::new(1_234));
        assert!(message.en().contains("12.34"));
        assert!(message.text(Language::Zh).contains("12.34"));
        assert_eq!(Message::VisitHall(vec!["A".into(), "B".into()]).zh(), "以下应用需到营业厅删除：A、B。");
    }
}
