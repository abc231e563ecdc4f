//! What the user interaction module is told while an operation runs (W-5.a, W-5.b).

use tsm_api::conversation::{Progress, Stage};

use crate::storage::Language;

/// Hears of progress; the program around shows it.
pub trait Interaction: Send {
    /// The operation has come this far. The per cent never fall within an operation.
    fn progress(&mut self, progress: Progress);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Interaction for Quiet {
    fn progress(&mut self, _: Progress) {}
}

/// The stage in words.
pub const fn stage_words(stage: Stage, language: Language) -> &'static str {
    let (english, chinese) = match stage {
        Stage::Observing => ("looking at the card", "正在读取卡片"),
        Stage::CreatingDomain => ("creating the security domain", "正在创建安全域"),
        Stage::ReplacingKeys => ("replacing the first keys", "正在更新初始密钥"),
        Stage::Loading => ("downloading", "正在下载"),
        Stage::Installing => ("installing", "正在安装"),
        Stage::Personalising => ("personalising", "正在个人化"),
        Stage::Writing => ("writing the registration", "正在写入注册信息"),
        Stage::Deleting => ("deleting", "正在删除"),
        Stage::Locking => ("locking or unlocking", "正在锁定或解锁"),
        Stage::ToppingUp => ("adding money", "正在充值"),
        Stage::Paying => ("paying", "正在支付"),
        Stage::Closing => ("finishing", "正在完成"),
    };
    match language {
        Language::English => english,
        Language::Chinese => chinese,
    }
}
