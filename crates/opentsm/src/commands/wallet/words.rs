//! The wallet's sentences in both languages.

use clap::ValueEnum;
use tsm_api::Problem;
use tsm_api::se_tsm::wallet::InstallationCondition;
use tsm_epurse::TransactionType;
use tsm_epurse::file::HistoryType;
use tsm_wallet::service::{Interrupted, InterruptedKind};
use tsm_wallet::storage::{Language, StorageError};
use tsm_wallet::{AccessError, NetworkError, WalletError};

use crate::report::yuan;

/// Why an operation did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The wallet core says so.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// There is no such application for this operation.
    #[error("there is no {0:?} for this here; `list` shows what there is")]
    NotHere(String),
    /// No interrupted work is there to go on with or to cancel.
    #[error("nothing is open that could be continued or cancelled; `interrupted` shows what is")]
    NothingOpen,
    /// The application cannot be opened on this phone.
    #[error("{name} cannot be opened here: {why}")]
    NotToBeOpened {
        /// Its name.
        name: String,
        /// Why, in the rider's language.
        why: String,
    },
    /// Nothing is paid, and no amount was given.
    #[error("say how much, in fen: `top-up` APPLICATION 5000 adds 50 yuan")]
    NoAmount,
    /// No merchant waits for money.
    #[error("no merchant waits for money from this wallet; `orders` shows the token to give to one")]
    NoOrder,
    /// The number is none.
    #[error("{0:?} is no number of a payment; `orders` shows them")]
    NoSuchOrder(String),
    /// There are several.
    #[error("{0} orders wait; give the number of one, as `orders` shows it")]
    WhichOrder(usize),
    /// The centre's key is not known.
    #[error("servers.json does not tell the clearing centre's key; start the city again with this version")]
    NoCentreKey,
}

/// The languages on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Spoken {
    /// English.
    En,
    /// 中文。
    Zh,
}

impl Spoken {
    /// The wallet core's name of it.
    pub const fn language(self) -> Language {
        match self {
            Self::En => Language::English,
            Self::Zh => Language::Chinese,
        }
    }

    /// The sentence in this language.
    pub fn choose<T>(self, english: T, chinese: T) -> T {
        match self {
            Self::En => english,
            Self::Zh => chinese,
        }
    }

    /// Interrupted work with the rider's choices, in both languages.
    pub fn interrupted(self, work: &Interrupted) -> (String, String) {
        let (english, chinese) = match work.kind {
            InterruptedKind::Opening => ("opening a card", "开通卡片"),
            InterruptedKind::TopUp => ("a paid top-up", "已支付的充值"),
            InterruptedKind::Return => ("returning a card", "退卡"),
            InterruptedKind::MigrationOut => ("moving a card to another phone", "迁出卡片"),
            InterruptedKind::MigrationIn => ("bringing a card to this phone", "迁入卡片"),
            InterruptedKind::Repersonalisation => ("writing the new number into a card", "写入新号码"),
            InterruptedKind::Lock => ("locking a card", "锁定卡片"),
            InterruptedKind::Unlock => ("unlocking a card", "解锁卡片"),
            InterruptedKind::Deletion => ("deleting an application", "删除应用"),
            InterruptedKind::PayOnline => ("paying a merchant from a card", "用卡片向商户支付"),
        };
        let (choices, choices_zh) = match (work.may_continue, work.may_cancel) {
            (true, true) => ("`continue` or `cancel`", "可选择 continue（继续）或 cancel（取消）"),
            (true, false) => ("`continue`", "可选择 continue（继续）"),
            (false, true) => ("`cancel`", "可选择 cancel（取消）"),
            (false, false) => ("go to a service hall", "请前往营业厅办理"),
        };
        let amount = work.amount_fen.map(|fen| format!(" ({})", yuan(i64::from(fen)))).unwrap_or_default();
        (
            format!("interrupted: {english}{amount}: {choices}"),
            format!("未完成：{chinese}{amount}：{choices_zh}"),
        )
    }

    /// Whether an application can be had here, in words.
    pub fn condition(self, condition: &InstallationCondition) -> String {
        let (english, chinese) = match condition {
            InstallationCondition::NotInstalled => ("can be opened", "可开通"),
            InstallationCondition::Interrupted { .. } => {
                ("was interrupted; opening it goes on from there", "上次中断，再次开通即可继续")
            }
            InstallationCondition::Installed => ("is on this phone", "已安装"),
            InstallationCondition::Updatable => {
                ("is on this phone; a newer edition is there", "已安装，有新版本")
            }
            InstallationCondition::NotEligible { problem } => return self.problem(problem),
        };
        self.choose(english, chinese).to_owned()
    }

    /// What went wrong in the wallet, with what to do next.
    pub fn wallet_trouble(self, error: &WalletError) -> String {
        match self {
            Self::En => error.to_string(),
            Self::Zh => chinese(error),
        }
    }

    /// An error, with what to do next.
    pub fn trouble(self, trouble: &Trouble) -> String {
        match (self, trouble) {
            (Self::En, _) => trouble.to_string(),
            (Self::Zh, Trouble::Wallet(error)) => self.wallet_trouble(error),
            (Self::Zh, Trouble::NothingOpen) => "没有可继续或取消的操作，可用 interrupted 查看".into(),
            (Self::Zh, Trouble::NotHere(name)) => format!("此处没有“{name}”，可用 list 查看"),
            (Self::Zh, Trouble::NotToBeOpened { name, why }) => format!("{name} 无法开通：{why}"),
            (Self::Zh, Trouble::NoCentreKey) => {
                "servers.json 中没有清算中心的公钥；请用此版本重新启动城市".to_owned()
            }
            (Self::Zh, Trouble::NoOrder) => {
                "没有商户等待此钱包支付；可用 orders 查看向商户出示的标识".to_owned()
            }
            (Self::Zh, Trouble::NoSuchOrder(number)) => format!("“{number}”不是支付编号，可用 orders 查看"),
            (Self::Zh, Trouble::WhichOrder(count)) => {
                format!("有 {count} 笔订单等待支付，请给出编号（见 orders）")
            }
            (Self::Zh, Trouble::NoAmount) => "请给出金额（分）：top-up 应用 5000 即充值 50 元".to_owned(),
        }
    }

    /// A kind of transaction.
    pub fn transaction(self, kind: TransactionType) -> &'static str {
        let (english, chinese) = match kind {
            TransactionType::DepositLoad => ("deposit load", "存折圈存"),
            TransactionType::Load => ("load", "圈存"),
            TransactionType::Unload => ("unload", "圈提"),
            TransactionType::CashWithdrawal => ("cash withdrawal", "取现"),
            TransactionType::DepositPurchase => ("deposit purchase", "存折消费"),
            TransactionType::Purchase => ("purchase", "消费"),
            TransactionType::OverdraftUpdate => ("overdraft limit", "透支限额"),
            TransactionType::CompositePurchase => ("ride", "复合消费"),
            TransactionType::Other(_) => ("other", "其他"),
        };
        self.choose(english, chinese)
    }

    /// A kind of trip record.
    pub fn trip(self, kind: HistoryType) -> &'static str {
        let (english, chinese) = match kind {
            HistoryType::Entry | HistoryType::CashEntry => ("in", "进站"),
            HistoryType::Exit | HistoryType::CashExit => ("out", "出站"),
            HistoryType::Single | HistoryType::CashSingle => ("single trip", "单次"),
            HistoryType::Adjustment | HistoryType::CashAdjustment => ("fare adjustment", "补票"),
            HistoryType::Load | HistoryType::CashLoad => ("load", "充值"),
            HistoryType::Initial | HistoryType::Other(_) => ("other", "其他"),
        };
        self.choose(english, chinese)
    }

    fn problem(self, problem: &Problem) -> String {
        match self {
            Self::En => format!("{} {}", problem.message_en, problem.next_step),
            Self::Zh => format!("{}{}", problem.message_zh, problem.next_step_zh),
        }
    }
}

fn chinese(error: &WalletError) -> String {
    match error {
        WalletError::Element(AccessError::Lost) => "安全单元没有响应，请打开 NFC 后重试".to_owned(),
        WalletError::Element(AccessError::Denied) => {
            "本机不允许钱包访问安全单元，请从运营方安装钱包".to_owned()
        }
        WalletError::Element(AccessError::Forbidden) => "访问接口不允许发送此指令".to_owned(),
        WalletError::Network(NetworkError::Refused(problem)) | WalletError::Refused(problem) => {
            format!("{}{}", problem.message_zh, problem.next_step_zh)
        }
        WalletError::Network(NetworkError::NoReply(why)) => {
            format!("服务器没有响应（{why}），请检查网络后重试")
        }
        WalletError::Network(NetworkError::Unreadable) => "无法读取服务器的应答，请更新钱包".to_owned(),
        WalletError::Storage(StorageError::Unavailable(why)) => {
            format!("无法使用钱包的存储（{why}），请清理空间后重试")
        }
        WalletError::Storage(StorageError::Newer(version)) => {
            format!("钱包数据由更新的版本（{version}）写入，请更新钱包")
        }
        WalletError::Storage(StorageError::Damaged) => "钱包数据已损坏，请重新注册".to_owned(),
        WalletError::Failed { problem, .. } => {
            format!("{}{}再次操作将从卡片现有状态继续。", problem.message_zh, problem.next_step_zh)
        }
        WalletError::Unknown => "尚不能确定是否完成，请重新打开钱包，将按卡片状态确认".to_owned(),
        WalletError::Cancelled => "操作已停止，可以继续进行".to_owned(),
        WalletError::Restarted(_) => "服务器未能保持会话，请稍后重试".to_owned(),
        WalletError::NotRegistered => "本机尚未注册，请先注册：register --accept".to_owned(),
        WalletError::NoSession => "此操作需要先成功登录".to_owned(),
        WalletError::UnreadableCard(command) => format!("无法读取卡片对 {command} 的应答，请重试"),
        WalletError::UnexpectedOutcome => "服务器的结果与操作不符，请更新钱包".to_owned(),
        WalletError::Receipt(_) => "收据签名无效，请勿采信，并告知发卡方".into(),
        WalletError::NotOffered(aid) => format!("此处不提供应用 {aid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_sentence_in_both_languages() {
        for error in [WalletError::Unknown, WalletError::NotRegistered, WalletError::UnexpectedOutcome] {
            assert!(Spoken::En.trouble(&error.clone().into()).is_ascii());
            assert!(!Spoken::Zh.trouble(&error.into()).is_ascii());
        }
    }
}
